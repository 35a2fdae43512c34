"""Designs that look across the frames of a film."""
