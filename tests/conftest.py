"""Fixtures that more than one folder of tests asks for live in the modules named here."""

pytest_plugins = ["tests.browser", "tests.hub", "tests.tiny_llama"]
