"""Answers to a shop's own rows: reading them, asking a model, parts on disk, and what came out. See predict.py and rank.py."""
