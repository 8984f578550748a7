"""The Space's app. It imports from its own package and `common` only."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The folder of app.py, settings.json and the other files."""
