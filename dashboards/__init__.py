"""Figures: pure ``DataFrame -> Figure`` functions, used alike by logged artifacts, reports and tests."""
