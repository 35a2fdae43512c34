"""One module a format: rows as they stand in the files, and what is wrong with those that cannot be read."""
