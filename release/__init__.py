"""What `python -m release` checks, assembles and pushes: everything that came of one run."""
