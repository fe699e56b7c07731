"""Inference with a trained encoder: features, predictions, and exports for other tools."""
