"""Confidence intervals, non-domination and hypervolume."""
