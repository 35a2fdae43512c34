"""Questions of the user's own in the formats that people keep them in: rows, pictures, splits, and what is wrong."""
