"""Methods ranked over many comparisons."""

CONTROLS = ("random", "stride", "downsample")  # in every ranking, where they were measured
Block = tuple[str, str, float]  # a model, its task and a compute ratio
