"""Malformed inputs for every kind of file and every command: ``python -m tests.fuzz --inputs 1500 --seed 0``."""
