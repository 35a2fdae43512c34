"""Small drawn tasks to judge by, unlike those that searches are tuned on: ``crowds``, ``fabrics``, and ``films``."""
