"""What a model answers: written greedily, teacher-forced where that tells the same, and its own answers as labels."""
