"""Fixtures that more than one folder of tests asks for live in the modules named here."""

import signal

from hypothesis import settings

pytest_plugins = ["tests.browser", "tests.hub", "tests.run_folder", "tests.tiny_llama"]

# A busy machine is no failure: what must be quick is measured in benchmarks/.
settings.register_profile("any_machine", deadline=None)
settings.load_profile("any_machine")

# A shell's background job ignores Ctrl-C, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
