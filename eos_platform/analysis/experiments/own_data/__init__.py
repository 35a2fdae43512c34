"""What searches on data of a user's own cost and find, measured on a task's questions written to files."""
