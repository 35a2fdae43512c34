"""Designs that merge tokens."""
