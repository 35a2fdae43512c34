"""What the engine itself costs and saves, each a command of its own."""
