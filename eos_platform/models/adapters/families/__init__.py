"""Further families, a file each: what every one of them says of itself is in ``adapters/base.py``."""
