"""Baselines that learn from the train rows."""
