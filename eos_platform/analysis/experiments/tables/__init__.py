"""What experiments that are tables of cells have in common, and their reports."""
