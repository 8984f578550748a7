"""The `corpora` and `built_dataset` fixtures: tiny raw corpora of all formats, and the dataset that the build makes of them."""

from pathlib import Path

import pytest

from tests import raw
from tests.command import run_command
from tests.made_once import made_once


def run_build(*arguments: object) -> int:
    return run_command("dataset_builders.build", *arguments)


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all five raw corpora. Not to be written to."""
    return made_once(tmp_path_factory, "corpora", lambda folder: raw.write(folder, raw.corpora()))


@pytest.fixture(scope="session")
def built_dataset(tmp_path_factory: pytest.TempPathFactory, corpora: Path) -> Path:
    """The dataset of all of them, with all twelve tasks. Not to be written to."""

    def make(folder: Path) -> None:
        assert run_build("--raw", corpora, "--out", folder / "dataset") == 0

    return made_once(tmp_path_factory, "built", make) / "dataset"
