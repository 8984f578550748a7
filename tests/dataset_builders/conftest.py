"""What the builder's tests share: hypothesis's profile, and one dataset built of the tiny corpora."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import raw

if TYPE_CHECKING:
    from tests.dataset_builders.recipe_runs import Harvester

settings.register_profile("builder", deadline=None, derandomize=True)
settings.load_profile("builder")


def run_command(module: str, *arguments: object) -> int:
    """The exit code of `python -m dataset_builders.<module> ...`, run in this process, which saves three seconds of imports."""
    from common.errors import plain_errors

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *map(str, arguments)])
        try:
            with plain_errors():
                import_module(f"dataset_builders.{module}").main()
        except SystemExit as exit:
            return int(exit.code or 0)
    return 0


def run_build(*arguments: object) -> int:
    return run_command("build", *arguments)


@pytest.fixture(name="run_build", scope="session")
def _run_build() -> Callable[..., int]:
    return run_build


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all five raw corpora. Not to be written to."""
    return raw.write(tmp_path_factory.mktemp("corpora"), raw.corpora())


@pytest.fixture(scope="module")
def harvest(tmp_path_factory: pytest.TempPathFactory) -> "Harvester":
    """Lets a recipe draw from small tables: see recipe_runs."""
    from tests.dataset_builders.recipe_runs import harvester

    return harvester(tmp_path_factory.mktemp("harvest"))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, corpora: Path) -> Path:
    """The dataset of all of them. Not to be written to."""
    out = tmp_path_factory.mktemp("built") / "dataset"
    assert run_build("--raw", corpora, "--out", out) == 0
    return out
