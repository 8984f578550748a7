"""How a card of all tasks with a base, baselines and another benchmark looks: on a large screen, on a phone, in the dark."""

import random
from pathlib import Path
from typing import Any

import pytest

from common.tasks import TASKS
from model_card.build import main
from tests.card_page import look, write_page
from tests.eval_tasks.runs import BASELINE, Said, said, write_run
from tests.model_card.files import write_adapter, write_base_model, write_data

DARK = 60
"""Brightness, of 255, below which a ground is dark."""


def answers(draw: random.Random, mean: float) -> list[Said]:
    return said(*(min(1.0, max(0.0, draw.gauss(mean, 0.2))) for _ in range(12)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("look")
    draw = random.Random(1)
    for name, mean in {"base": 0.3, "adapter": 0.6, "random": 0.2, "majority": 0.3, "tfidf": 0.65, "minilm": 0.6}.items():
        about: dict[str, Any] = {"model_config": {"model_name": name, "generation_parameters": {"temperature": 0}}}
        if name not in ("base", "adapter"):
            about = {"model_config": BASELINE["model_config"] | {"model_name": name}}
        write_run(folder / "runs" / name, {f"shop:{task}": answers(draw, mean) for task in TASKS}, model=name, **about)
        bench = {f"shopbench:task{number}": answers(draw, mean) for number in range(1, 19)}
        write_run(folder / "runs" / name, bench, model=name, metric="accuracy", time="2026-02-02T10-00-00.000001", **about)
    adapter = write_adapter(folder / "adapter", str(write_base_model(folder / "base")))
    configs = {name: {"train": 9000, "test": 900, "fingerprint": name * 9} for name in ("default", *TASKS)}
    runs, card = folder / "runs", folder / "out" / "README.md"
    main(
        f"--adapter {adapter} --data {write_data(folder / 'data', configs=configs)} --results {runs / 'adapter'} "
        f"--base-results {runs / 'base'} --baseline-results {runs} --repo-id org/a-name-of-some-length --out {card}".split()
    )
    return write_page(card)


def test_on_a_large_screen_no_table_has_to_be_scrolled(page: Path, browser: Any, screenshots: Path) -> None:
    seen = look(browser, page, 832, screenshots / "model_card.png")
    assert seen["page"] == 832
    assert len(seen["tables"]) >= 8
    assert [table for table in seen["tables"] if table[0]] == []
    assert seen["headings"][:4] == ["Intended use", "Quick start", "Scores", "Data"]


def test_on_a_phone_the_page_is_as_wide_as_the_phone_and_the_plot_can_be_read(
    page: Path, browser: Any, screenshots: Path
) -> None:
    from model_card.plot import DPI

    seen = look(browser, page, 360, screenshots / "model_card_phone.png")
    assert seen["page"] == 360
    ((natural, shown),) = seen["pictures"]
    points = 9  # of the smallest text
    assert points / 72 * DPI * shown / natural >= 8, "pixels on a phone"


def test_the_plot_has_a_light_ground_where_the_page_is_dark(page: Path, browser: Any, screenshots: Path) -> None:
    from matplotlib.image import imread

    picture = screenshots / "model_card_dark.png"
    assert look(browser, page, 832, picture, dark=True)["page"] == 832
    assert imread(picture)[2, 2, :3].max() * 255 < DARK, "the page is dark"
    plot = imread(page.with_name("scores.png"))
    assert plot[2, 2].min() == 1.0, "and the plot opaque and white"
