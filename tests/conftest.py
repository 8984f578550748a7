"""What all tests share: which ones are slow, how many cases a property is tried on, and in which order files run.

Fixtures that more than one folder of tests asks for live in the modules of `pytest_plugins`.
"""

import signal

import pytest
from hypothesis import is_hypothesis_test, settings

pytest_plugins = [
    "tests.browser",
    "tests.hub",
    "tests.real_dataset",
    "tests.run_folder",
    "tests.tiny_llama",
    "tests.vllm_server",
    "tests.whole_way",
]

SLOW = {
    "bare_environment",  # pip installs into a new environment
    "benchmark",
    "browser",  # Chromium
    "compared_builds",  # whole builds, one after another
    "crowd",  # two hundred visitors
    "deepspeed_pair",  # pip builds DeepSpeed; two processes train with it
    "demo",  # make demo
    "inspect_cli",  # the console script of inspect-ai
    "evaluation",  # this project's commands over lighteval
    "full_evaluation",
    "launch",  # accelerate launch
    "lighteval",  # the console script
    "pair",  # two processes as a launcher starts them
    "repository_copy",
    "smollm2",  # 135 million parameters in place of the tiny model's 130,000
    "spark",
    "spark_cluster",
    "torchrun",
    "uninterrupted",  # a training run in each mode, for the many that are killed and resumed
    "vllm",
}
"""Fixtures that start something that takes long: a test that asks for one is marked slow."""
FAST = {"shop_run", "whole_way"}
"""Runs that `make test` includes although they start such things: what stands on them is not slow."""
STARTS = {"hub", "publish", "runs", "served", "shop_run", "tiny_llama", "whole_way"}
"""Fixtures that start a process or load a model: their files run first, so that several workers end at the same time."""
QUICK_SEEDS = 3
"""Of the seeds that a recomputation of a recipe is parametrised with, the others are slow."""

# A busy machine is no failure: no deadline. What fails once fails always: no randomness.
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=30)
settings.register_profile("full", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("quick")  # --hypothesis-profile full, which is read later, wins


@pytest.fixture(scope="session")
def thorough() -> bool:
    """Whether to try as many cases as CI does; by default a few."""
    return settings.get_current_profile_name() == "full"


# A shell's background job ignores Ctrl-C, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests, before -m chooses, and lets files that start something run first."""
    for item in items:
        if is_slow(item):
            item.add_marker("slow")
        elif "thorough" in fixtures(item) or is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("profiled")
    starting = {item.path for item in items if STARTS & fixtures(item)}
    items.sort(key=lambda item: item.path not in starting)


def fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def is_slow(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    seed = callspec.params.get("seed") if callspec else None
    return (isinstance(seed, int) and seed >= QUICK_SEEDS) or bool(SLOW & fixtures(item) and not FAST & fixtures(item))
