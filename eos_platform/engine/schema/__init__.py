"""The study file: its sections, its search space, and what must hold between them."""
