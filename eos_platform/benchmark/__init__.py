"""OperatorBench: a table of deployed operators that answers like a model on a GPU."""
