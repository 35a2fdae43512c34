"""Errors, files, strict parsing, addresses and the console: what everything else uses."""
