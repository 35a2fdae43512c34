"""From questions to what a model is handed, each picture prepared and seen once, and kept on disk."""
