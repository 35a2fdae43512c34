"""The differentiable form of a site."""
