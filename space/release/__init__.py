"""What `python -m space.publish_all` checks, assembles and pushes: everything that came of one run."""
