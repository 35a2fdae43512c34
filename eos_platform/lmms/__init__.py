"""lmms-eval with operators: a model plug-in (``--model eos``), its runs told when they fail, its results read back."""
