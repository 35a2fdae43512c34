"""What every family must do with an operator on it, tried on small random models of the real classes.

``python -m eos_platform.models.conformance`` prints the matrix: family x check, with counts.
"""
