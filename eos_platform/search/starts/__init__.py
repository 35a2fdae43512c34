"""Where a search begins: structures, and what is learned at the sites of a design."""
