"""Backends: prompts, generation, and the store of answers."""
