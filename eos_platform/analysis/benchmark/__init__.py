"""Public benchmarks and local tasks, with and without operators: answers kept, a table of them."""
