"""Deployed operators on a model: attaching, decoder hooks, token state, and the choice kept with the cache."""
