"""Searched and hand-designed operators at matched compute, on the same held-out questions.

Two halves. Measuring (``settings``, ``plan``, ``measure``, ``pictures``, ``tune``, ``run``, ``store``)
appends lines of JSON to a results folder and needs no more than the core does; ``python -m
eos_platform.analysis.comparison`` is that half alone, for a machine with a GPU and little else. Reporting (``points``,
``differences``, ``report``) reads the folder and is pandas in, pandas out. ``eos compare`` is both.
"""
