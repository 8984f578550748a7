"""Writes the model card from measured results."""
