"""Measuring a device profile: which points, and how long each takes."""
