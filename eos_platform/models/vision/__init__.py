"""The vision tower: operators inside it, and encoding images once for many prompts."""
