"""Operators in a server's engine: serving, and load."""
