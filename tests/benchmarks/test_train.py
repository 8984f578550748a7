"""The benchmark of training: all three ways train on the same rows and end alike, and what it cannot do is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import Benchmark
from tests.command import run_command
from tests.training.conftest import COMPLETIONS, write_dataset
from tests.training.conftest import ROWS as TRAIN_ROWS

WAYS = ("plain", "trl", "recipe")
ROWS = 32


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("rows") / "data")


@pytest.fixture(scope="module")
def figures(benchmark: Benchmark, rows: Path, tiny_llama: Path) -> dict[str, Any]:
    done = benchmark("train", "--data", rows, "--base", tiny_llama, "--rows", ROWS)
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return last


def test_the_ratios_are_those_of_the_speeds(figures: dict[str, Any]) -> None:
    speed = {way: figures[way]["tokens_per_second"] for way in WAYS}
    assert figures["ratio"] == pytest.approx(speed["recipe"] / speed["plain"], abs=0.006)
    assert figures["ratio_to_trl_defaults"] == pytest.approx(speed["recipe"] / speed["trl"], abs=0.006)
    assert figures["share_of_ceiling"] == pytest.approx(speed["recipe"] / figures["ceiling_tokens_per_second"], abs=0.006)


def test_all_ways_see_the_same_tokens_in_about_as_many_steps_and_come_to_about_the_same_loss(figures: dict[str, Any]) -> None:
    assert figures["plain"]["tokens"] == figures["trl"]["tokens"] == figures["recipe"]["tokens"] > ROWS * 10
    assert figures["plain"]["steps"] == figures["trl"]["steps"] == ROWS / 8
    assert figures["recipe"]["steps"] <= ROWS / 8 + 1
    losses = [figures[way]["loss"] for way in WAYS]
    assert max(losses) - min(losses) < 0.1 * min(losses)


@pytest.mark.parametrize(
    ("count", "sentence"),
    [
        (7, "error: --rows must be 8 or more, not 7"),
        (100, f"has {len(COMPLETIONS) * TRAIN_ROWS} rows to train on, which is too few; give fewer --rows or a larger --data"),
    ],
)
def test_a_number_of_rows_that_cannot_be_is_told(
    count: int, sentence: str, rows: Path, tiny_llama: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command("benchmarks.train", "--data", rows, "--base", tiny_llama, "--rows", count) == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert sentence in said
