"""Optimisers of several kinds on OperatorBench: hypervolume against evaluations."""
