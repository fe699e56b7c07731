"""A trained encoder in use: features, predictions, slide maps, and files for other tools."""
