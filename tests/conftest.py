"""Fixtures that more than one folder of tests asks for live in the two modules named here."""

pytest_plugins = ["tests.hub", "tests.tiny_llama"]
