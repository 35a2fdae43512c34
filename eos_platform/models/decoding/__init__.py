"""Steps after the prefill: the choice kept with a cache and its rows."""
