"""Search without a gradient, and hand-designed operators matched to a compute ratio: what a search is held against."""
