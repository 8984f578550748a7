"""The benchmark of quality: held-out rows share nothing with train, answers keep their place, intervals mean what they say."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.answering import kept, model_answers, prompt
from benchmarks.holdout import capped, hold_out, task_rows, write_validation_folder
from benchmarks.quality import parse_arguments
from benchmarks.shopbench import lines
from benchmarks.verdict import COLUMNS, TaskScores, judge, sentences
from common.errors import UserError
from eval_tasks.baselines.template_rows import template_row
from eval_tasks.suites.shopbench_rows import ShopBenchRow, read_rows
from tests.benchmarks.conftest import Benchmark
from tests.command import run_command
from tests.eval_tasks.questions import TITLES, make_row
from tests.eval_tasks.rows import shopbench_records, write_lines

# --- Holding out ---


def train_rows(count: int = 60) -> dict[str, list[dict[str, Any]]]:
    """Reviews and queries of the same products: two rows of each a product."""
    names = [f"{title} {number}" for number in range(count // len(TITLES)) for title in TITLES]
    return {
        "review_rating": [
            make_row("review_rating", str(place % 5 + 1), review=f"About {name}, part {place}", group=f"product:{name}")
            for name in names
            for place in range(2)
        ],
        "query_generation": [
            make_row("query_generation", name, product=f"{name}, new", group=f"product:{name}") for name in names
        ],
    }


def test_no_group_is_on_both_sides_of_any_task() -> None:
    rows = train_rows()
    kept_rows, held = hold_out(rows, seed=0)
    sides = [{row["group"] for found in part.values() for row in found} for part in (kept_rows, held)]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]
    for name, found in rows.items():
        assert len(kept_rows[name]) + len(held[name]) == len(found)


def test_the_share_held_out_is_about_what_is_asked() -> None:
    _, held = hold_out(train_rows(1200), seed=3, share=0.3)
    assert 0.2 < len(held["query_generation"]) / 1200 < 0.4


def test_what_is_held_out_depends_on_groups_and_seed_alone() -> None:
    rows = train_rows()
    turned = {name: found[::-1] for name, found in rows.items()}
    assert {row["sample_id"] for row in hold_out(rows, 0)[1]["review_rating"]} == {
        row["sample_id"] for row in hold_out(turned, 0)[1]["review_rating"]
    }
    assert hold_out(rows, 0)[1] != hold_out(rows, 1)[1]


def test_a_row_whose_text_stands_in_a_held_out_one_is_not_trained_on() -> None:
    rows = train_rows()
    held = hold_out(rows, 0)[1]["review_rating"][0]
    text = template_row(held).fields["review"]
    twin = make_row("review_rating", "1", review=f"{text}", template=1, group="product:twin of none that is held")
    assert twin["group"] not in {row["group"] for row in hold_out({"review_rating": [twin]}, 0)[1].get("review_rating", [])}
    again, _ = hold_out({**rows, "review_rating": [*rows["review_rating"], twin]}, 0)
    assert twin not in again["review_rating"]


def test_few_rows_are_the_same_ones_in_any_order() -> None:
    rows = train_rows()
    few = capped(rows, 5)
    assert [len(found) for found in few.values()] == [5, 5]
    assert few == capped({name: random.Random(0).sample(found, len(found)) for name, found in rows.items()}, 5)
    assert capped(rows, None) is rows


def test_the_validation_folder_is_a_dataset_of_train_rows_only(built_dataset: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    out = tmp_path / "validation"
    write_validation_folder(built_dataset, out, seed=0)
    train, test = (load_dataset(str(out), "default", split=split) for split in ("train", "test"))
    assert not set(train["group"]) & set(test["group"])
    before = {row["sample_id"]: row for rows in task_rows(built_dataset, "train").values() for row in rows}
    for part in (train, test):
        assert all(before[row["sample_id"]] == row for row in part)
    assert len(train) + len(test) <= len(before)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["configs"]["default"]["train"] == len(train)
    assert manifest["configs"]["default"]["test"] == len(test)
    write_validation_folder(built_dataset, out, seed=0)  # again, in its own place
    assert json.loads((out / "manifest.json").read_text()) == manifest


def test_a_dataset_of_one_group_cannot_be_parted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too few rows to hold some of them out"):
        write_validation_folder(tmp_path, tmp_path / "validation", seed=0)


# --- Answers ---


def test_answers_stand_where_their_prompts_do_and_are_kept(tiny_llama: Path, tmp_path: Path) -> None:
    asked = [prompt(f"Which of these fits {title}? " * (number % 4 + 1), 4 + number % 2) for number, title in enumerate(TITLES)]
    together = model_answers(str(tiny_llama), asked, tmp_path / "together")
    assert together == [model_answers(str(tiny_llama), [one], tmp_path / "alone")[0] for one in asked]
    assert len(set(together)) > 1
    assert (tmp_path / "together" / "answers.sqlite").is_file()


def test_a_model_that_is_not_there_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no/such/folder is no file or folder here"):
        model_answers("no/such/folder", [prompt("Hello", 1)], tmp_path)


def test_kept_answers_are_made_once_for_a_key(tmp_path: Path) -> None:
    made = []

    def make() -> list[str]:
        made.append("")
        return ["é", "2"]

    assert [kept(tmp_path, ["a", 1], make) for _ in range(2)] == [["é", "2"], ["é", "2"]]
    assert len(made) == 1
    kept(tmp_path, ["a", 2], make)
    assert len(made) == 2


# --- Verdicts ---


def line(tuned: Sequence[float] | None, **others: Sequence[float] | None) -> TaskScores:
    rows = len(next(scores for scores in (tuned, *others.values()) if scores))
    return TaskScores("review_rating", "multiple_choice", "accuracy", list(map(str, range(rows))), {"tuned": tuned, **others})


def test_who_beats_whom() -> None:
    clear = judge(line([1.0] * 40, base=[0.0] * 40, MiniLM=[0.0] * 10 + [1.0] * 30), 0)
    assert (clear.best_other, clear.gain, clear.beats_all, clear.clearly) == ("MiniLM", 0.25, True, True)
    unclear = judge(line([1.0] * 21 + [0.0] * 19, base=[0.0] * 20 + [1.0] * 20), 0)
    assert (unclear.gain, unclear.beats_all, unclear.clearly) == (pytest.approx(0.025), True, False)
    beaten = judge(line([0.0, 1.0] * 10, base=[1.0] * 20), 0)
    assert (beaten.gain, beaten.beats_all) == (-0.5, False)
    even = judge(line([1.0, 1.0], base=[1.0, 1.0]), 0)
    assert not even.beats_all
    said = sentences([clear, unclear, beaten, even])
    assert "tuned beats every other column, and clearly (+0.250 on MiniLM" in said[0]
    assert "within the error of the rows" in said[1]
    assert "does NOT beat" in said[2]
    assert said[3] == "review_rating: 2 rows are too few to tell."


def test_without_a_tuned_model_there_is_no_verdict() -> None:
    verdict = judge(line(None, base=[1.0, 0.0]), 0)
    assert verdict.means == {**dict.fromkeys(COLUMNS), "base": 0.5}
    assert verdict.figures()["beats_all"] is None
    assert sentences([verdict]) == []


# --- ShopBench ---


def test_shopbench_is_told_by_type_and_by_task(shopbench_rows: list[ShopBenchRow]) -> None:
    gold = ["1", "0", "1,4,6", "brass, lamp", "bulb", "a warm white bulb", "2,1,5,4,3"]
    said = {"base": [*gold, "", ""], "TF-IDF": [""] * 9}
    found = {line.name: line for line in lines(shopbench_rows, said)}
    assert found["ShopBench multiple-choice"].scores["base"] == [1, 1]
    assert found["ShopBench named entity recognition"].scores["base"] == [1, 1]
    assert found["ShopBench generation"].scores["TF-IDF"] is None
    overall = found["ShopBench overall"]
    assert len(overall.groups) == 6
    assert len(overall.scores["base"] or ()) == 6


@pytest.fixture
def shopbench_rows(tmp_path: Path) -> list[ShopBenchRow]:
    return read_rows(write_lines(tmp_path / "development.json", shopbench_records()))


# --- The command ---


def test_options_behind_two_dashes_are_the_training_s() -> None:
    arguments = parse_arguments(["--raw", "r", "--rows", "3", "--", "--learning_rate", "1e-4", "--seed", "4"])
    assert arguments.options == ["--learning_rate", "1e-4", "--seed", "4"]
    assert (arguments.rows, arguments.seed, arguments.split) == (3, 0, "test")
    assert parse_arguments(["--raw", "r"]).options == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--raw", "no/such"), "error: no/such is not a folder"),
        (("--raw", "tests", "--shopbench", "no/such.json"), "error: no/such.json: no such file. Give --shopbench"),
        (("--raw", "tests", "--recipe", "no/such.yaml"), "error: no/such.yaml: no such file. Give --recipe"),
        (("--raw", "tests", "--rows", "0"), "error: --rows 0 scores nothing"),
        (("--raw", "tests", "--untuned", "--", "--max_steps", "1"), "error: Options behind -- are of a training"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("benchmarks.quality", *arguments) == 2
    assert capsys.readouterr().err.startswith(said)


@pytest.fixture(scope="module")
def scored(
    benchmark: Benchmark, corpora: Path, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """A run of the whole command on tiny corpora and a tiny model; the folder that it leaves, and its standard output."""
    folder = tmp_path_factory.mktemp("scored")
    rows = write_lines(folder / "development.json", shopbench_records())
    options = (
        "--raw",
        corpora,
        "--shopbench",
        rows,
        "--base",
        tiny_llama,
        "--out",
        folder / "out",
        "--rows",
        2,
        "--size",
        "12+4",
    )
    done = benchmark("quality", *options, "--", "--max_steps", 2, "--validation_samples", 0, "--cpu_threads", 1)
    return folder, done.stdout.splitlines()


def test_a_run_ends_with_json_of_every_task_and_column(scored: tuple[Path, list[str]]) -> None:
    folder, printed = scored
    figures = json.loads(printed[-1])
    assert figures == json.loads((folder / "out" / "quality.json").read_text())
    assert str(folder) not in printed[-1]
    assert figures["split"] == "test"
    training = figures["training"]
    assert training["within_budget"] is True
    assert 0 < training["cpu_minutes"] < 5
    assert training["steps"] == 2
    rating = figures["tasks"]["review_rating"]
    assert rating["rows"] <= 2
    assert all(0 <= rating["scores"][name] <= 1 for name in COLUMNS)
    low, high = rating["tuned_interval"]
    assert low <= rating["scores"]["tuned"] <= high
    assert {name for name in figures["tasks"] if name.startswith("ShopBench")} >= {"ShopBench overall", "ShopBench ranking"}
    assert set(figures["shopbench"]) == {"base", "tuned"}
    assert "review_rating: 2 rows are too few to tell." in printed
    assert any("the budget of 30 CPU minutes" in text for text in printed)


def test_a_validation_run_scores_rows_of_train_with_an_adapter_that_is_there(
    benchmark: Benchmark, scored: tuple[Path, list[str]], corpora: Path, tiny_llama: Path
) -> None:
    folder, _ = scored
    options = ("--raw", corpora, "--base", tiny_llama, "--out", folder / "out", "--rows", 2, "--size", "12+4")
    done = benchmark("quality", *options, "--split", "validation", "--adapter", folder / "out" / "adapter")
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["split"] == "validation"
    assert figures["training"] is None
    assert figures["shopbench"] is None
    held = {row["sample_id"] for rows in task_rows(folder / "out" / "validation", "test").values() for row in rows}
    assert held
    assert not held & {row["sample_id"] for rows in task_rows(folder / "out" / "dataset", "test").values() for row in rows}
