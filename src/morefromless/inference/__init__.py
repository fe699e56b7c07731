"""A trained encoder in use: features, predictions, and files for other tools."""
