"""How the card of a dataset of all tasks looks: on a large screen and on a phone."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from dataset_builders.card import SplitSize, TaskFacts, card_text, config_tasks
from dataset_builders.plots import IMAGES, PICTURE_DPI, write_plots
from dataset_builders.rows import Row
from dataset_builders.splits import Split
from dataset_builders.tasks import TASKS
from tests.card_page import look, write_page

ANSWERS: dict[str, Any] = {
    "multiple_choice": "1",
    "ranking": [1.0, 0.1, 0.0, 0.0, 0.0],
    "retrieval": [2, 5, 9],
    "generation": "an answer of some words",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset_card")
    draw = random.Random(1)

    def rows(task: str, count: int) -> list[Row]:
        family = TASKS[task].family
        texts = (" ".join(["word"] * draw.randint(20, 200)) for _ in range(count))
        answer = json.dumps(ANSWERS[family])
        return [Row(text, "x", task, family, answer, "esci", "Apache-2.0", "group", ()) for text in texts]

    built = {name: Split(rows(name, 40), rows(name, 4), []) for name in TASKS}
    write_plots(folder, built)
    sizes = {"train": SplitSize(1000, 1, 1), "test": SplitSize(9, 1, 1)}
    facts = {name: TaskFacts(sizes, {"none stated": 9, "CC-BY-NC-4.0": 1009}, "word " * 300, "an answer") for name in TASKS}
    manifest = {
        "configs": {name: {"train": 123456, "test": 12345, "fingerprint": "f"} for name in config_tasks(list(TASKS))},
        "rejects": {"amazon_reviews_2018": {"co_purchases: another record has the same product_id, relation": 1234567}},
        "sources": {"amazon_reviews_2018": {"licence": "none stated", "read": 12345678, "used": 123456}},
        "not_built": {},
        "short": {name: {"train": 1, "test": 1} for name in TASKS},
        "synthetic": False,
        "locales": ["us"],
        "seed": 0,
    }
    (folder / "README.md").write_text(card_text(manifest, facts, IMAGES, "Shop"), encoding="utf-8")
    return write_page(folder / "README.md")


def test_on_a_large_screen_no_table_has_to_be_scrolled(page: Path, browser: Any, screenshots: Path) -> None:
    seen = look(browser, page, 832, screenshots / "dataset_card.png")
    assert seen["page"] == 832
    assert [table for table in seen["tables"] if table[0]] == []


def test_on_a_phone_the_page_is_as_wide_as_the_phone_and_pictures_can_be_read(
    page: Path, browser: Any, screenshots: Path
) -> None:
    seen = look(browser, page, 360, screenshots / "dataset_card_phone.png")
    assert seen["page"] == 360
    assert len(seen["pictures"]) == len(IMAGES)
    points = 8  # of the smallest text
    for natural, shown in seen["pictures"]:
        assert points / 72 * PICTURE_DPI * shown / natural >= 7, "pixels on a phone"
