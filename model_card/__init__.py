"""The model card, from what was measured."""
