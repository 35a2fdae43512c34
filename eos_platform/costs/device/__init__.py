"""What a device was measured to take, kept in a file, and what is predicted from it."""
