"""Commands about what a device takes."""
