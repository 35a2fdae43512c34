"""What an operator costs: FLOPs by arithmetic and as profiled, and the model shapes they follow from."""
