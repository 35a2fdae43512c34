"""What a person looks at: a report, a sheet of examples, a prompt as the model gets it."""
