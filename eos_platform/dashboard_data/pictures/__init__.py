"""The pictures of README and studies/results, made again from what is stored there."""
