"""What operators look at across the frames of a film."""
