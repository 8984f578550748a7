"""The demo: one model, many tasks of an online shop."""
