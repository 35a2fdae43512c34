"""Commands over several models, tasks or comparisons."""
