"""What the builder's tests share: its commands in this process, one dataset built of tiny corpora, recipes on small tables."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import command
from tests.real_dataset import run_build

if TYPE_CHECKING:
    from tests.dataset_builders.recipe_runs import DrawRows


def run_command(module: str, *arguments: object) -> int:
    """The exit code of `python -m dataset_builders.<module> ...`, run in this process."""
    return command.run_command(f"dataset_builders.{module}", *arguments)


@pytest.fixture(name="run_build", scope="session")
def _run_build() -> Callable[..., int]:
    return run_build


@pytest.fixture(scope="module")
def draw_rows(tmp_path_factory: pytest.TempPathFactory) -> "DrawRows":
    """Lets a recipe draw from small tables: see recipe_runs."""
    from tests.dataset_builders.recipe_runs import row_drawer

    return row_drawer(tmp_path_factory.mktemp("draw_rows"))


@pytest.fixture(scope="session")
def dataset(built_dataset: Path) -> Path:
    """The dataset of all of the corpora. Not to be written to."""
    return built_dataset
