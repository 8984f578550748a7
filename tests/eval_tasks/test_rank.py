"""`rank` with the tiny model: what is scored, in which order, and how well by judgments."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from lighteval.tasks.requests import Doc

from common.answers import parse_completion
from common.prompts import render_prompt
from common.scoring import ndcg
from common.tasks import GAINS, TASKS
from common.words import expected_gain
from eval_tasks.backends.answer_store import AnswerStore
from eval_tasks.backends.lighteval_model import score_prompts
from eval_tasks.backends.scored_rows import scored_rows
from eval_tasks.prediction.questions import row_form
from tests.command import run_command
from tests.eval_tasks.runs import BY_TEXT
from tests.training.random_adapters import random_adapter

PRODUCTS = ["steel bottle", "[2 pack] cup\nblue", "garden hose", "red shoes", "wireless mouse", "cotton shirt"]


def read(path: Path) -> list[dict[str, Any]]:
    table = duckdb.sql(f"SELECT * FROM '{path}'")
    assert table is not None
    return [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def loaded(tiny_llama: Path) -> Any:
    from eval_tasks.backends.prompts import parse_options
    from eval_tasks.transformers_model import TransformersBackend, load

    return load(parse_options(f"model_name={tiny_llama}", TransformersBackend.OPTIONS))


def test_pairs_are_ranked_by_their_expected_gain(
    tiny_llama: Path, loaded: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ["E", "irrelevant", "S", "I", "?", "C"]
    pairs = [
        {"query": query, "product": product, "label": label, "rank": place}
        for place, (product, label) in enumerate(zip(PRODUCTS, labels, strict=True))
        for query in ("bottle", "shoes")
    ]
    pairs.append({"query": "bottle", "product": "", "label": "E", "rank": 9})
    source, out = write(tmp_path / "pairs.jsonl", pairs), tmp_path / "ranked.parquet"
    arguments = ("--input", source, "--model", tiny_llama, "--judgments", "label", "--out", out)
    assert run_command("eval_tasks.rank", *arguments) == 0
    ranked = read(out)
    assert not out.with_name("ranked.parquet.parts").exists()
    form = row_form("query_product_relation", True, ["query", "product"], {})
    prompts = [prompt for pair in pairs[:-1] for prompt in form.prompts(form.fields(pair))]
    likelihoods = score_prompts(loaded, prompts, None, AnswerStore(tmp_path / "store" / "answers.sqlite"))  # type: ignore[arg-type]
    ranking = TASKS["query_product_ranking"].words
    assert ranking
    gains = {
        (pair["query"], pair["product"]): expected_gain(ranking, each)
        for pair, each in zip(pairs[:-1], likelihoods, strict=True)
    }
    expected, found = [], []
    for query in ("bottle", "shoes"):
        own = [row for row in ranked if row["query"] == query and row["error"] is None]
        assert [row["rank"] for row in own] == list(range(1, 7))
        assert [row["score"] for row in own] == pytest.approx(sorted((gains[query, each] for each in PRODUCTS), reverse=True))
        assert all(row["score"] == pytest.approx(gains[query, row["product"]]) for row in own)
        judged = [row for row in own if row["label"] != "?"]
        weights = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0, **GAINS}
        expected.append(ndcg(range(1, 6), [weights[row["label"]] for row in judged]))
        found += own
    [failed] = [row for row in ranked if row["error"]]
    assert failed["rank"] is None
    assert failed["input_rank"] == 9
    assert f"NDCG over 2 queries: {sum(expected) / 2:.4f}" in capsys.readouterr().out


def test_an_adapter_that_learnt_lists_by_text_ranks_them_as_its_evaluation_does(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A demo's adapter: rows of query_generation among its rows, and none in words."""
    from eval_tasks.backends.prompts import parse_options
    from eval_tasks.transformers_model import TransformersBackend, load

    adapter = random_adapter(tiny_llama, tmp_path / "adapter", seed=3, lora_alpha=64)
    (adapter / "training_summary.json").write_text(json.dumps(BY_TEXT))
    lists = [{"query": query, "candidates": PRODUCTS[start : start + 5]} for query in ("bottle", "shoes") for start in (0, 1)]
    for number, row in enumerate(lists):
        row |= {"id": number, "candidates": [" ".join(str(each).split()) for each in row["candidates"]]}
    arguments = ("--input", write(tmp_path / "lists.jsonl", lists), "--model", tiny_llama, "--adapter", adapter)
    loaded = load(parse_options(f"model_name={tiny_llama}", TransformersBackend.OPTIONS), [adapter])
    task = TASKS["query_product_ranking"]

    def evaluated(row: dict[str, Any], form: str) -> list[int]:
        query = render_prompt(task.templates[0], {"query": row["query"], "products": row["candidates"]})
        [scored] = scored_rows([Doc(query, ["never looked at"], 0, task_name=f"shop:{task.name}|0")], form).values()
        store = AnswerStore(tmp_path / "store" / "answers.sqlite")
        order = parse_completion(task, scored.answer(score_prompts(loaded, scored.prompts, adapter, store), {}))
        assert isinstance(order, list)
        return order

    orders = []
    for form, given in (("text", ()), ("words", ("--lists", "words"))):
        out = tmp_path / f"{form}.parquet"
        assert run_command("eval_tasks.rank", *arguments, *given, "--group", "id", "--out", out) == 0
        assert ("lists by text: the adapter was trained on rows of query_generation" in capsys.readouterr().out) == (not given)
        found = read(out)
        orders.append([[row["product"] for row in found if row["id"] == each["id"]] for each in lists])
        expected = [[each["candidates"][number - 1] for number in evaluated(each, form)] for each in lists]
        assert orders[-1] == expected
        assert set(found[0]) == {"id", "query", "product", "score", "rank", "answer", "confidence", "error"}
        if form == "text":
            assert all(row["score"] < 0 and row["answer"] is None and row["confidence"] is None for row in found)
    assert orders[0] != orders[1]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_list_of_any_length_is_ranked_and_cut_to_the_best(ending: str, tiny_llama: Path, tmp_path: Path) -> None:
    rows = [{"id": 1, "query": "bottle", "candidates": PRODUCTS}, {"id": 2, "query": "cup", "candidates": []}]
    source, out = write(tmp_path / "lists.jsonl", rows), tmp_path / f"ranked.{ending}"
    assert run_command("eval_tasks.rank", "--input", source, "--model", tiny_llama, "--top", 2, "--out", out) == 0
    ranked = read(out)
    assert [(row["id"], row["rank"]) for row in ranked] == [(1, 1), (1, 2), (2, None)]
    assert ranked[2]["error"] == "candidates is missing or empty"
    assert ranked[0]["score"] >= ranked[1]["score"]


@pytest.mark.parametrize("listed", [False, True])
def test_shards_hold_whole_rankings_with_the_ranks_of_one_process(listed: bool, tiny_llama: Path, tmp_path: Path) -> None:
    queries = ["bottle", "cup", "garden hose", "7", 7]  # the last two are one query in a column of texts
    if listed:
        rows = [{"query": query, "candidates": PRODUCTS[: 2 + place % 3]} for place, query in enumerate(queries)]
    else:
        rows = [{"query": query, "product": product} for product in PRODUCTS[:3] for query in queries]
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / "ranked.parquet"
    command = ("--input", source, "--model", tiny_llama, "--out", out)
    assert run_command("eval_tasks.rank", *command) == 0
    whole = {(row["query"], row["product"], row["rank"]): row["score"] for row in read(out)}
    for number in (1, 2, 3):
        assert run_command("eval_tasks.rank", *command, "--shard", f"{number}/3") == 0
    shards = [read(tmp_path / f"ranked-{number}-of-3.parquet") for number in (1, 2, 3)]
    assert max(map(len, shards)) < len(whole)
    found = [(row["query"], row["product"], row["rank"]) for shard in shards for row in shard]
    assert sorted(found) == sorted(whole), "no pair is missing, twice there or ranked among others"
    assert [row["score"] for shard in shards for row in shard] == pytest.approx([whole[pair] for pair in found], abs=1e-5)
    together = [{row["query"] for row in shard} for shard in shards]
    assert sum(map(len, together)) == 4, "no query is in two shards"


def test_a_shard_without_a_ranking_is_an_empty_file(tiny_llama: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"query": "bottle", "product": product} for product in PRODUCTS])
    out = tmp_path / "ranked.parquet"
    for number in (1, 2):
        arguments = ("--input", source, "--model", tiny_llama, "--out", out, "--shard", f"{number}/2")
        assert run_command("eval_tasks.rank", *arguments) == 0
    assert sorted(len(read(tmp_path / f"ranked-{number}-of-2.parquet")) for number in (1, 2)) == [0, 6]


def test_a_column_without_judgments_is_no_ndcg_of_zero(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "pairs.jsonl", [{"query": "bottle", "product": "cup", "label": "cheap"}])
    given = ("--input", source, "--model", tiny_llama, "--out", tmp_path / "ranked.csv", "--judgments", "label")
    assert run_command("eval_tasks.rank", *given) == 0
    assert "no NDCG, since no query has a judgment above irrelevant; 1 pairs have no judgment" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "ranked.txt"], "ends in .parquet"),
        (["--out", "ranked.csv", "--top", "0"], "keeps nothing"),
        (["--out", "ranked.csv", "--map", "product=title", "--judgments", "labl"], "Did you mean label?"),
        (["--out", "ranked.csv", "--map", "candidates=nothing"], "has no column 'nothing'"),
        (["--out", "ranked.csv", "--map", "product=titel"], "Did you mean title?"),
        (["--out", "ranked.csv"], "has no column product"),
        (
            ["--out", "ranked.csv", "--map", "product=title", "--backend", "endpoint", "--lists", "text"],
            "which an endpoint does not tell",
        ),
        (["--out", "ranked.csv", "--shard", "3/2"], "write K/N"),
        (["--out", "ranked.csv", "--engine", "pyspark", "--shard", "1/2"], "leave out --shard"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = write(tmp_path / "pairs.jsonl", [{"query": "bottle", "title": "cup", "label": "E"}])
    assert run_command("eval_tasks.rank", "--input", source, "--model", "none", *arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("error:") == 1
