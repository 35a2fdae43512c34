"""How fast an operator really is: beside the unreduced model, and beside a lower bound that has nothing to reduce."""
