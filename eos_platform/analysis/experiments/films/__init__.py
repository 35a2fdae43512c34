"""Films: searched operators and designs at equal compute."""
