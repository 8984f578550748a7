"""The benchmark of quality: held-out rows share nothing with train, and a run scores base, tuned model and baselines."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.holdout import first_of_draw, hold_out, task_rows, write_folder
from benchmarks.quality import BASELINES, parse_arguments
from benchmarks.quality_rows import chosen_tasks, single_label_sources
from common.errors import UserError
from common.prompts import render_prompt
from common.tasks import TASKS
from common.words import in_words
from eval_tasks.baselines.template_rows import template_row
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


def test_rows_in_words_are_trained_on_and_their_numbered_forms_are_held_out() -> None:
    template = in_words(TASKS["product_relation"]).templates[0]
    numbered, words = [], []
    for place in range(60):
        fields = {"product": f"Sofa {place}", "other_product": f"Couch {place}"}
        row = make_row("product_relation", "0", **fields, group=f"product:{place}")
        numbered.append(row)
        prompt = [{"role": "user", "content": render_prompt(template, fields)}]
        words.append({**row, "prompt": prompt, "answer": '"bought"'})
    kept, held = hold_out({"product_relation": words}, 0, 0.3, {"product_relation": numbered})
    assert {row["answer"] for row in kept["product_relation"]} <= {'"bought"'}
    assert {row["answer"] for row in held["product_relation"]} == {'"0"'}


def test_test_rows_that_are_given_are_held_out_too_and_nothing_like_them_is_trained_on() -> None:
    rows = train_rows()
    kept, held = hold_out(rows, 0)
    tested = kept["review_rating"][:1]
    less, more = hold_out(rows, 0, test={"review_rating": tested})
    assert more["review_rating"] == [*tested, *held["review_rating"]]
    assert tested[0] not in less["review_rating"]


def test_the_first_rows_of_a_draw_do_not_depend_on_the_order_of_the_files() -> None:
    rows = train_rows()["review_rating"]
    assert first_of_draw(rows, 0, 5) == first_of_draw(rows[::-1], 0, 5)
    assert len(first_of_draw(rows, 0, 5)) == 5
    assert first_of_draw(rows, 1, 5) != first_of_draw(rows, 0, 5)


def test_rows_are_written_as_a_dataset_folder(built_dataset: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    out = tmp_path / "rows"
    kept, held = hold_out(task_rows(built_dataset, "train"), seed=0)
    write_folder(kept, held, out)
    train, test = (load_dataset(str(out), "default", split=split) for split in ("train", "test"))
    assert not set(train["group"]) & set(test["group"])
    before = {row["sample_id"]: row for rows in task_rows(built_dataset, "train").values() for row in rows}
    for part in (train, test):
        assert all(before[row["sample_id"]] == row for row in part)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["configs"]["default"]["train"] == len(train)
    assert manifest["configs"]["default"]["test"] == len(test)
    write_folder(kept, held, out)  # again, in its own place
    assert json.loads((out / "manifest.json").read_text()) == manifest


def test_tasks_are_those_with_enough_rows_or_those_asked_for() -> None:
    train, test = (
        {"also_buy": range(500), "review_rating": range(499), "query_generation": range(900)},
        {
            "also_buy": range(200),
            "review_rating": range(900),
            "query_generation": range(900),
        },
    )
    assert chosen_tasks(None, train, test) == ["also_buy"]
    assert chosen_tasks("review_rating,also_buy", train, test) == ["review_rating", "also_buy"]
    with pytest.raises(
        UserError, match="the raw files yield no rows of 'chess'; they do of also_buy, review_rating, query_generation"
    ):
        chosen_tasks("chess", train, test)
    with pytest.raises(UserError, match="No task of scored answers has 500 train and 200 test rows"):
        chosen_tasks(None, train, {})


def test_a_source_whose_rows_of_a_choice_all_have_one_label_is_found() -> None:
    labels = (("a", "5"), ("a", "5"), ("b", "5"), ("b", "1"))
    reviews = [{**make_row("review_rating", label), "source": source} for source, label in labels]
    lists = [{**make_row("also_buy", [1]), "source": "a"}]
    assert single_label_sources({"review_rating": reviews, "also_buy": lists}) == {("review_rating", "a")}


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
        (("--raw", "tests", "--text-rows", "-1"), "error: --text-rows must be 0 or more, not -1."),
        (("--raw", "tests", "--train-rows", "0"), "error: --train-rows must be 1 or more, not 0."),
        (("--raw", "tests", "--start", "none", "--adapter", "a"), "error: --start is of a training, and nothing is trained"),
        (("--raw", "tests", "--curve", "no/such"), "error: no/such holds no adapter or whole checkpoint"),
        (("--raw", "tests", "--curve", "--curve-points", "1"), "error: --curve-points must be 2 or more, not 1."),
        (("--raw", "tests", "--rows", "0"), "error: --rows 0 scores nothing"),
        (("--raw", "tests", "--adapter", "a", "--", "--max_steps", "1"), "error: Options behind -- are of a training"),
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
        "--train-rows",
        12,
        "--text-rows",
        5,
        "--tasks",
        "review_rating,query_product_relation",
        "--sample-size",
        "12+1",
        "--scale",
        0.01,
        "--curve",
    )
    done = benchmark("quality", *options, "--", "--max_steps", 2, "--cpu_threads", 1)
    return folder, done.stdout.splitlines()


def test_a_run_ends_with_json_of_every_task_and_column(scored: tuple[Path, list[str]]) -> None:
    folder, printed = scored
    figures = json.loads(printed[-1])
    assert figures == json.loads((folder / "out" / "quality.json").read_text())
    assert str(folder) not in printed[-1]
    assert figures["split"] == "test"
    training = figures["training"]
    assert 0 < training["cpu_minutes"] < 5
    assert [training[name]["steps"] for name in ("sample", "real")] == [2, 2]
    assert (training["sample"]["adapter"], training["real"]["adapter"]) == (None, "sample_adapter")
    chosen, trained = {"review_rating", "query_product_relation"}, training["real"]["tasks"]
    assert training["sample"]["tasks"].keys() == chosen
    assert trained.keys() > chosen
    assert max(trained[name] for name in chosen) <= 12
    texts = trained.keys() - chosen
    assert all(TASKS[name].family == "generation" and trained[name] <= 5 for name in texts), "texts are trained on"
    assert {task["task"] for task in figures["shop"]["tasks"]} == {f"shop:{name}" for name in chosen}, "and not scored"
    rating = next(task for task in figures["shop"]["tasks"] if task["task"] == "shop:review_rating")
    assert rating["rows"]["tuned"] <= 2
    assert all(
        0 <= rating["scores"][name] <= 1 for name in ("base", "tuned", "base_scored", "tuned_scored", *BASELINES["shop"])
    )
    low, high = rating["intervals"]["tuned"]
    assert low <= rating["scores"]["tuned"] <= high
    assert {task["task"] for task in figures["shopbench"]["tasks"]} >= {"shopbench:task2", "shopbench:task12"}
    assert figures["shopbench"]["names"][:2] == ["base", "tuned"]
    assert any("The trainings took" in text for text in printed)


def test_the_curve_goes_from_the_base_over_each_training_s_checkpoints_to_its_adapter(scored: tuple[Path, list[str]]) -> None:
    folder, printed = scored
    curve, figures = json.loads((folder / "out" / "curve.json").read_text()), json.loads(printed[-1])
    points = curve["points"]
    assert [(point["training"], point["step"]) for point in points] == [(0, 0), (1, 1), (1, 2), (2, 1), (2, 2)]
    tokens = [figures["training"][name]["tokens"] for name in ("sample", "real")]
    assert [point["tokens"] for point in (points[0], points[2], points[4])] == [0, tokens[0], sum(tokens)]
    assert tokens[0] < points[3]["tokens"] < sum(tokens)
    rating = next(task for task in figures["shop"]["tasks"] if task["task"] == "shop:review_rating")
    for point, name in ((points[0], "base"), (points[4], "tuned")):
        found = {way: point[way]["shop:review_rating"]["score"] for way in ("written", "scored")}
        assert found == {"written": rating["scores"][name], "scored": rating["scores"][f"{name}_scored"]}
    assert curve["baselines"].keys() == set(BASELINES["shop"])
    assert (folder / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_validation_run_scores_rows_of_train_with_an_adapter_that_is_there(
    benchmark: Benchmark, scored: tuple[Path, list[str]], corpora: Path, tiny_llama: Path
) -> None:
    folder, _ = scored
    options = ("--raw", corpora, "--base", tiny_llama, "--out", folder / "out", "--rows", 2, "--tasks", "review_rating")
    tested = {row["sample_id"] for rows in task_rows(folder / "out" / "rows", "test").values() for row in rows}
    done = benchmark("quality", *options, "--split", "validation", "--adapter", folder / "out" / "adapter")
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["split"] == "validation"
    assert figures["training"] is None
    assert figures["shopbench"] is None
    held = {row["sample_id"] for rows in task_rows(folder / "out" / "rows", "test").values() for row in rows}
    assert held
    assert tested
    assert not held & tested
