"""Costs that are measured on a model: the time until a first token, of further ones, of an answer; memory; energy."""
