"""What a study showed: fronts, intervals, and comparisons at matched compute (pandas in, pandas out)."""
