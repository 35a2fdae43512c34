"""How fast an operator really is: beside the unreduced model, and beside the oracle that need not reduce at all."""
