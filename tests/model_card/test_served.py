"""The model as it is served, beside the tuned model, on the card."""

from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.tasks import TASKS
from model_card.build import main
from model_card.evaluations import read_comparisons
from model_card.served import read_served, served_places
from tests.eval_tasks.runs import report_of, said, write_run
from tests.model_card.files import table_cells, write_adapter, write_base_model

ENDPOINT = "eval_tasks/endpoint_model.py"
GGUF = "GGUF q8_0, llama.cpp"


def config(model: str, **more: Any) -> dict[str, Any]:
    return {"model_config": {"model_name": model, "generation_parameters": {"temperature": 0.0}, **more}}


def served(folder: Path, tasks: dict[str, list[float]], name: str = "shop", **more: Any) -> Path:
    about = config(name, model_definition_file_path=ENDPOINT, **more)
    return write_run(folder, {f"shop:{task}": said(*values) for task, values in tasks.items()}, model=name, **about)


@pytest.fixture
def original(tmp_path: Path) -> Path:
    rows = {"shop:review_rating": said(*[1.0, 1.0, 0.0, 1.0] * 5), "shop:also_buy": said(*[1.0, 0.0] * 10)}
    return write_run(tmp_path / "original", rows, model="adapter", **config("adapter"))


def card(tmp_path: Path, original: Path, *places: str) -> str:
    adapter = write_adapter(tmp_path / "adapter", str(write_base_model(tmp_path / "model")))
    options = [option for place in places for option in ("--served-results", place)]
    main(["--adapter", str(adapter), "--results", str(original), "--out", str(tmp_path / "README.md"), *options])
    return (tmp_path / "README.md").read_text(encoding="utf-8")


def test_the_card_has_what_is_served_beside_the_tuned_model_with_a_paired_difference(tmp_path: Path, original: Path) -> None:
    q8 = served(tmp_path / "q8", {"review_rating": [1.0, 1.0, 0.0, 0.0] * 5, "also_buy": [1.0, 0.0] * 10})
    q4 = served(tmp_path / "q4", {"review_rating": [0.0, 1.0, 0.0, 0.0] * 5}, name="shop-q4")
    text = card(tmp_path, original, f"{GGUF}={q8}", f"GGUF q4_k_m={q4}")
    section = text.partition("### As it is served")[2].partition("\n## ")[0]
    report = report_of(original, q8, q4)
    (gain,) = (line.gains[1] for line in report.lines if line.name == "shop:review_rating")
    assert gain
    assert gain.low is not None
    assert gain.high is not None
    cells = table_cells(section, TASKS["review_rating"].title)
    assert [cell.partition(" / ")[0] for cell in (cells[1], cells[2], cells[4])] == ["0.750", "0.500", "0.250"]
    assert cells[3].replace("*", "") == f"{gain.value:+.3f} / {gain.low:+.2f} to {gain.high:+.2f}"
    other = table_cells(section, TASKS["also_buy"].title)
    assert other[3:6] == ["+0.000 / +0.00 to +0.00", "-", "-"], "the second was not measured on it"
    assert "asked through an endpoint, which calls it `shop`; greedy decoding; measured on 2026-01-02" in section
    assert "which calls it `shop-q4`" in section
    assert "that of serving alone" not in text
    assert str(tmp_path) not in text


def test_scored_answers_as_served_stand_beside_the_tuned_models_scored_ones(tmp_path: Path, original: Path) -> None:
    scored = {"shop:review_rating": said(*[1.0, 1.0, 1.0, 0.0] * 5)}
    mine = write_run(tmp_path / "scored", scored, model="adapter_scored", **config("adapter_scored", answers="scored"))
    theirs = served(tmp_path / "served", {"review_rating": [1.0] * 20}, name="shop_scored", answers="scored")
    (shop,) = read_comparisons([original, mine], [], [])
    (found,) = read_served({GGUF: [theirs]}, shop)
    assert found.answers == "scored"
    assert found.report.names == ("tuned", GGUF)
    (line,) = found.report.lines
    assert [cell.value for cell in line.cells if cell] == [0.75, 1.0]


def test_other_decoding_and_a_merged_model_of_another_adapter_are_inconsistencies(tmp_path: Path, original: Path) -> None:
    limited = served(tmp_path / "limited", {"review_rating": [1.0] * 20}, name="shop_constrained")
    text = card(tmp_path, original, f"{GGUF}={limited}")
    assert "measured with greedy decoding, constrained to readable answers and the tuned model with greedy decoding" in text
    assert "difference is not that of serving alone" in text
    assert "which calls it `shop`" in text


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("FOLDER", "write WHAT=RESULTS"),
        ("=FOLDER", "write WHAT=RESULTS"),
        (f"{GGUF}=nowhere", "no such file or folder"),
        (f"{GGUF}=scored", "has scored answers, lists by words, and the tuned model has none"),
        (f"{GGUF}=other", "no task that the tuned model was measured on"),
    ],
)
def test_a_mistake_is_one_sentence(
    place: str, sentence: str, tmp_path: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    served(tmp_path / "scored", {"review_rating": [1.0] * 20}, name="shop_scored", answers="scored")
    served(tmp_path / "other", {"next_query": [1.0] * 20})
    (shop,) = read_comparisons([original], [], [])
    with pytest.raises(UserError, match=sentence):
        read_served(served_places([place]), shop)
