"""How the card of a dataset of all tasks looks: on a large screen and on a phone."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from common.dataset import config_tasks
from common.tasks import TASKS
from dataset_builders.card import SplitSize, TaskFacts, card_text
from dataset_builders.labelling.agreement import Agreement
from dataset_builders.labelling.plots import plot_agreement
from dataset_builders.labelling.votes import BOUNDS
from dataset_builders.plots import IMAGES, PICTURE_DPI, write_plots
from dataset_builders.row_facts import read_facts
from dataset_builders.rows import DatasetRow
from dataset_builders.splits import Split
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

    def rows(task: str, count: int) -> list[DatasetRow]:
        family = TASKS[task].family
        texts = (" ".join(["word"] * draw.randint(20, 200)) for _ in range(count))
        answer = json.dumps(ANSWERS[family])
        return [DatasetRow(text, "x", task, family, answer, "esci", "Apache-2.0", "group", ()) for text in texts]

    built = {name: Split(rows(name, 40), rows(name, 4), []) for name in TASKS}
    write_plots(folder, read_facts(built))
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
        "annotations": [checked(folder)],
    }
    (folder / "README.md").write_text(card_text(manifest, facts, IMAGES, "Shop"), encoding="utf-8")
    return write_page(folder / "README.md")


def checked(folder: Path) -> dict[str, Any]:
    """A check of the labels of all tasks by two models, with its picture."""
    picture = "images/agreement-1.png"
    measured = {}
    for task in (task for task in TASKS.values() if task.family in BOUNDS):
        for model in ("meta-llama/Llama-3.3-70B-Instruct", "gpt-4o-mini-2024-07-18"):
            found = measured[task.name, model] = Agreement(answers=45000, agreed=30000, unreadable=120)
            found.by_chance = 9000.0
            if task.family == "multiple_choice":
                pairs = itertools.product(("also_buy", "complement", "irrelevant", "substitute"), repeat=2)
                found.confusion.update(dict.fromkeys(pairs, 12345))
            else:
                found.scores += [0.5, 1.0]
    plot_agreement(folder / picture, measured, BOUNDS)
    rejects = {"the answer differs from the label": 12345, "only one of the two models agrees": 1234}
    tasks: dict[str, Any] = {}
    for (task, model), agreement in measured.items():
        counts = tasks.setdefault(task, {"read": 45000, "kept": 30000, "rejects": rejects, "models": {}})
        counts["models"][model] = agreement.as_json()
    return {
        "models": list(counts["models"]),
        "policy": "two-models",
        "samples": 5,
        "temperature": 0.7,
        "bounds": BOUNDS,
        "splits": ["train", "test"],
        "tasks": tasks,
        "not_asked": ["query_generation", "answer_generation"],
        "picture": picture,
    }


def test_on_a_large_screen_no_table_has_to_be_scrolled(page: Path, browser: Any, screenshots: Path) -> None:
    seen = look(browser, page, 832, screenshots / "dataset_card.png")
    assert seen["page"] == 832
    assert [table for table in seen["tables"] if table[0]] == []


def test_on_a_phone_the_page_is_as_wide_as_the_phone_and_pictures_can_be_read(
    page: Path, browser: Any, screenshots: Path
) -> None:
    seen = look(browser, page, 360, screenshots / "dataset_card_phone.png")
    assert seen["page"] == 360
    assert len(seen["pictures"]) == len(IMAGES) + 1
    points = 8  # of the smallest text
    for natural, shown in seen["pictures"]:
        assert points / 72 * PICTURE_DPI * shown / natural >= 7, "pixels on a phone"
