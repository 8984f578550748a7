"""The calibration of the sample corpora: which rows are compared, and what the table says of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import calibration
from benchmarks.calibration import CalibrationScore, parse_baselines
from benchmarks.real_rows import SplitRows, alike, slices
from common.errors import UserError
from common.prompts import render_prompt
from common.tasks import TASKS
from dataset_builders.recipes.multiple_choice import RELEVANCE
from eval_tasks.baselines.template_rows import TemplateRow, template_row
from tests.benchmarks.conftest import Benchmark
from tests.command import run_command
from tests.small_dataset import write_small_dataset

STATEMENTS = list(RELEVANCE.values())


def pair_row(number: int, label: str, source: str = "made_here") -> dict[str, Any]:
    """A row of query_product_relation; an exact product has the query's words, a substitute half of them."""
    query = f"blue lamp {number}"
    product = {"exact": query, "substitute": f"red lamp {number}"}.get(label, f"garden hose {number}")
    fields = {"query": query, "product": product, "options": STATEMENTS}
    answer = str(list(RELEVANCE).index(label))
    return {
        "task": "query_product_relation",
        "family": "multiple_choice",
        "prompt": [{"role": "user", "content": render_prompt(TASKS["query_product_relation"].templates[0], fields)}],
        "completion": [{"role": "assistant", "content": answer}],
        "answer": json.dumps(answer),
        "source": source,
        "group": f"query:{query}",
    }


def template_rows(*labels: str) -> list[TemplateRow]:
    return [template_row(pair_row(number, label)) for number, label in enumerate(labels)]


def dataset(folder: Path, source: str, train: int = 40) -> Path:
    labels = ("exact", "irrelevant", "exact", "substitute")
    made = [pair_row(number, labels[number % 4], source) for number in range(train + 40)]
    return write_small_dataset(folder, {"query_product_relation": {"train": made[:train], "test": made[train:]}})


def test_rows_are_drawn_to_the_labels_shares_of_the_real_ones() -> None:
    pattern = template_rows(*["exact"] * 6, *["irrelevant"] * 2)
    rows = template_rows(*["exact", "irrelevant", "complement", "substitute"] * 6)
    found = [row.meaning() for row in alike(rows, pattern)]
    assert found == [RELEVANCE["exact"]] * 6 + [RELEVANCE["irrelevant"]] * 2


def test_where_a_label_is_scarce_all_of_them_are_fewer_and_a_label_that_is_missing_leaves_nothing() -> None:
    pattern = template_rows(*["exact"] * 6, *["irrelevant"] * 4)
    rows = template_rows(*["exact"] * 9, *["irrelevant"] * 2)
    assert [row.meaning() for row in alike(rows, pattern)] == [RELEVANCE["exact"]] * 3 + [RELEVANCE["irrelevant"]] * 2
    assert alike(template_rows("exact", "exact"), pattern) == []


def test_real_rows_suffice_only_where_there_are_many_of_several_labels() -> None:
    test = template_rows(*["exact", "irrelevant"] * 20)
    assert SplitRows(template_rows(*["exact", "irrelevant"] * 60), test).suffice()
    assert not SplitRows(template_rows(*["exact", "irrelevant"] * 40), test).suffice()
    assert not SplitRows(template_rows(*["exact"] * 120), test).suffice()
    assert not SplitRows([], []).suffice()


@pytest.mark.parametrize(
    ("baseline", "sample", "real", "holds"),
    [
        ("tfidf", 0.60, 0.69, True),
        ("tfidf", 0.60, 0.71, False),
        ("minilm", 0.95, 0.80, False),
        ("tfidf", 0.85, None, True),
        ("tfidf", 0.86, None, False),
        ("minilm", 0.99, None, True),
    ],
)
def test_a_score_holds_near_the_real_one_or_where_tfidf_does_not_solve_the_task(
    baseline: str, sample: float, real: float | None, holds: bool
) -> None:
    assert CalibrationScore("task", "", "accuracy", baseline, sample, real).holds == holds


def test_compares_a_task_with_every_real_source_and_its_label_shares(tmp_path: Path) -> None:
    real = slices(dataset(tmp_path / "real", "ecinstruct", train=120))
    sample = slices(dataset(tmp_path / "sample", "esci_sample", train=120))
    found = list(calibration.calibration(real, sample, {}, ["majority", "tfidf"], (100, 30)))
    by_measure = {(each.baseline, each.measure): each for each in found}
    assert {each.source for each in found} == {"ecinstruct"}
    assert by_measure["majority", "accuracy"].real == by_measure["majority", "accuracy"].sample == pytest.approx(0.5, abs=0.1)
    assert by_measure["tfidf", "auc_exact"].sample > 0.9
    assert all(each.holds for each in found)

    alone = list(calibration.calibration({}, sample, {}, ["tfidf"], (100, 30)))
    assert {(each.source, each.real) for each in alone} == {("", None)}


def test_amazon_slices_are_compared_with_the_samples_same_categories(tmp_path: Path) -> None:
    real = slices(dataset(tmp_path / "real", "amazon_reviews_2018", train=120))
    same = slices(dataset(tmp_path / "same", "amazon_reviews_2018_sample", train=120))
    few = slices(dataset(tmp_path / "few", "esci_sample", train=8))
    found = list(calibration.calibration(real, few, same, ["majority"], (100, 30)))
    assert [each.sample for each in found] == [each.real for each in found]


@pytest.mark.parametrize("names", ["tfidf,nearest", "", " , "])
def test_an_unknown_baseline_is_refused_with_those_that_there_are(names: str) -> None:
    with pytest.raises(UserError, match="use majority, tfidf, bm25, minilm"):
        parse_baselines(names)


def test_a_folder_that_is_not_there_is_refused_before_anything_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("benchmarks.calibration", "--real", tmp_path / "none", "--out", tmp_path / "out") == 2
    assert "none is not a folder. Give --real a folder" in capsys.readouterr().err


def test_the_whole_command_compares_real_files_with_sample_corpora(benchmark: Benchmark, corpora: Path, tmp_path: Path) -> None:
    done = benchmark(
        *("calibration", "--real", corpora, "--scale", 0.012, "--train", 60, "--test", 60),
        *("--baselines", "majority,tfidf", "--out", tmp_path / "out"),
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    found = {(each["task"], each["baseline"]): each for each in figures["calibration"]}
    assert {task for task, _ in found} == set(TASKS)
    assert found["query_product_ranking", "tfidf"]["sample"] < 0.9
    assert {path.name for path in (tmp_path / "out" / "raw" / "amazon_reviews_2018").iterdir()} <= {
        path.name for path in corpora.rglob("*.json.gz")
    }
