"""Designs that rank by more than one row of attention: of text by its weight, of what flows to the class token."""
