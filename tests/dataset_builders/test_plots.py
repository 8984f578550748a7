"""What the pictures count, and that they are pictures."""

import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.tasks import TASKS
from dataset_builders.plots import BINS, IMAGES, PERCENTILES, answer_counts, percentiles, write_plots
from dataset_builders.row_facts import answer_shape, read_facts
from dataset_builders.rows import DatasetRow
from dataset_builders.splits import Split


def row(task: str, answer: Any, prompt: str = "a prompt of five words") -> DatasetRow:
    return DatasetRow(prompt, "x", task, TASKS[task].family, json.dumps(answer), "esci", "Apache-2.0", "group", ())


def counts(task: str, *answers: Any) -> dict[str, dict[str, int]]:
    return answer_counts(TASKS[task], Counter(answer_shape(TASKS[task], answer) for answer in answers))


def test_labels_are_counted_also_those_that_no_row_has() -> None:
    assert counts("review_rating", "5", "5", "1") == {"label": {"1": 1, "2": 0, "3": 0, "4": 0, "5": 2}}


def test_of_a_ranking_every_product_of_the_highest_gain_is_counted() -> None:
    found = counts("query_product_ranking", [0.0, 1.0, 0.1, 0.01, 1.0], [0.0, 0.1, 0.1, 1.0, 0.01])
    assert found == {"positions of the best products": {"1": 0, "2": 1, "3": 0, "4": 1, "5": 1}}


def test_of_a_retrieval_numbers_and_positions_are_counted() -> None:
    assert counts("also_buy", [1, 4], [4], [2, 3]) == {
        "number of right items": {"1": 1, "2": 2},
        "positions of right items": {"1": 1, "2": 1, "3": 1, "4": 2},
    }


def test_a_texts_words_are_counted() -> None:
    assert counts("answer_generation", "two words", "now three words", "and here four words") == {
        "words of the answer": {"2": 1, "3": 1, "4": 1}
    }


@given(st.lists(st.integers(1, 90), min_size=1, max_size=30))
def test_many_lengths_share_bins_that_hold_each_of_them_once(lengths: list[int]) -> None:
    [found] = counts("answer_generation", *(" ".join(["word"] * length) for length in lengths)).values()
    assert len(found) <= BINS
    for name, count in found.items():
        first, _, last = name.partition("\u2013")
        assert count == sum(int(first) <= length <= int(last or first) for length in lengths)
    assert sum(found.values()) == len(lengths)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60))
def test_percentiles_of_counts_are_those_of_the_numbers_one_by_one(lengths: list[int]) -> None:
    assert percentiles(Counter(lengths), PERCENTILES) == pytest.approx(np.percentile(lengths, PERCENTILES).tolist())


def test_words_of_a_prompt_are_those_between_spaces_and_line_ends() -> None:
    rows = [row("also_buy", [1], "One two\nthree  four"), row("also_buy", [1], "x")]
    assert read_facts({"also_buy": Split(rows, [])})["also_buy"].words == {4: 1, 1: 1}


ANSWERS: dict[str, Any] = {"next_query": [1, 2, 3], "review_rating": "4", "answer_generation": "yes"}


@pytest.mark.parametrize("tasks", [list(ANSWERS), ["answer_generation"]], ids=["three tasks", "one task"])
def test_pictures_are_png_of_one_width_and_name_no_software(tmp_path: Path, tasks: list[str]) -> None:
    built = {name: Split([row(name, ANSWERS[name])] * 3, [], []) for name in tasks}
    write_plots(tmp_path, read_facts(built))
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")) == sorted(IMAGES.values())
    for path in IMAGES.values():
        content = (tmp_path / path).read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">I", content[16:20]) == (1100,)
        assert b"tEXt" not in content
        assert b"atplotlib" not in content


def test_a_users_own_settings_change_no_byte(tmp_path: Path) -> None:
    import matplotlib

    built = {"review_rating": Split([row("review_rating", "4")] * 3, [], [])}
    pictures = []
    for number, settings in enumerate(({}, {"font.size": 20, "axes.facecolor": "black"})):
        with matplotlib.rc_context(settings):
            (tmp_path / str(number)).mkdir()
            write_plots(tmp_path / str(number), read_facts(built))
        pictures.append([(tmp_path / str(number) / path).read_bytes() for path in IMAGES.values()])
    assert pictures[0] == pictures[1]
