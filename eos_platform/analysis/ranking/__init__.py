"""Methods ranked over many comparisons."""
