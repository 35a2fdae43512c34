"""Designs that pool, shrink or reweight."""
