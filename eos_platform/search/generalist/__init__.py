"""One operator for several places: a search over several models of one shape, several tasks, or both."""
