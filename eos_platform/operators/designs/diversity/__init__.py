"""Designs that prune tokens."""
