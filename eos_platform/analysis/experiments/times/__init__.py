"""What operators take on a device, beside what was predicted or asked for."""
