"""A shop's rows through `predict`: against a server that fails in every way, and by the tiny model."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lighteval.tasks.requests import Doc

from common import retry
from common.prompts import render_prompt
from common.tasks import TASKS
from eval_tasks.backends.scored_rows import prompt_of, scored_rows
from eval_tasks.prediction import parts
from eval_tasks.prediction.questions import EXAMPLES, described, row_form, wordings
from tests.chat_faults import TRANSIENT_FAULTS, Body, CutConnection, ErrorStatus, Fault
from tests.chat_server import ChatServer, chat_server, completion
from tests.command import run_command
from tests.eval_tasks.runs import BY_TEXT
from tests.hub import Hub
from tests.training.random_adapters import random_adapter

Predict = Callable[..., int]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with chat_server() as running:
        running.answer = lambda body: str(1 + sum(body["messages"][-1]["content"].encode()) % 5)
        yield running


@pytest.fixture
def predict(server: ChatServer) -> Predict:
    def run(*arguments: object) -> int:
        at = ("--model", "served", "--backend", "endpoint", "--option", f"base_url={server.url}", "--option", "retries=2")
        return run_command("eval_tasks.predict", *at, *arguments)

    return run


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def reviews(count: int) -> list[dict[str, Any]]:
    return [{"id": number % 3, "category": "Kitchen", "review": f"Cup {number} is fine."} for number in range(count)]


def answers(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("**/part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def asked(row: dict[str, Any]) -> str:
    return render_prompt(TASKS["review_rating"].templates[0], row)


def test_each_row_has_an_answer_or_a_reason(
    server: ChatServer, predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = reviews(9)
    rows[1]["review"] = None
    rows[2]["review"] = " <br> "
    rows[3]["review"] = ["a", "b"]
    del rows[4]["review"]
    server.faults[asked(rows[5])] = [ErrorStatus(503), CutConnection(), Body(b"{")]  # more than it is tried
    server.faults[asked(rows[6])] = [ErrorStatus(429), Body(b"{")]  # as often as it is tried again
    server.faults[asked(rows[7])] = [Body(json.dumps(completion(None, "content_filter")).encode())]
    rows[8] |= {"review": "word " * 5000, "answer": "kept", "extra": {"a": [1]}}
    source = lines(tmp_path / "reviews.jsonl", [*rows, "{no JSON", '"text"', rows[0]])
    assert predict("--task", "review_rating", "--input", source, "--out", tmp_path / "out") == 0
    found = answers(tmp_path / "out")
    assert [row["row"] for row in found] == list(range(1, 13)), "duplicate ids are rows of their own"
    told = {row["row"]: row["error"] for row in found if row["error"]}
    assert set(told) == {2, 3, 4, 5, 6, 8, 10, 11}
    assert told[2] == told[3] == told[5] == "review is missing or empty"
    assert told[4] == "review holds no text"
    assert "in 3 tries" in told[6]
    assert "gave no answer" in told[8]
    assert told[10].startswith("line is not JSON: reviews.jsonl, from line or row 10")
    assert all((row["answer"] in "12345") if not row["error"] else row["answer"] is None for row in found)
    assert found[8]["input_answer"] == "kept"
    assert json.loads(found[8]["extra"]) == {"a": [1]}
    assert found[8]["review"] == "word " * 5000, "the input stays as it is"
    assert max(len(prompt) for prompt in server.prompts()) < 2000, "the prompt is cut as in training"
    assert "without an answer" in capsys.readouterr().out
    assert (tmp_path / "out" / "answers.png").stat().st_size > 1000


def test_a_run_that_ends_goes_on_without_asking_twice(
    server: ChatServer, predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parts, "FEWEST", 4)
    monkeypatch.setattr(parts, "MOST", 4)
    monkeypatch.setattr("eval_tasks.backends.endpoint.MOST_FAILURES", 3)
    rows = reviews(14)
    source = lines(tmp_path / "reviews.jsonl", rows)
    command = ("--task", "review_rating", "--input", source, "--out", tmp_path / "out", "--option", "concurrency=1")
    server.faults |= {asked(row): [ErrorStatus(500)] * 3 for row in rows[9:12]}
    assert predict(*command) == 2, "three failures in a row: the server is not well"
    assert "gave no answer in 3 tries" in capsys.readouterr().err
    assert [row["row"] for row in answers(tmp_path / "out")] == list(range(1, 9))
    before = len(server.requests)
    assert predict(*command) == 0
    again = {request.prompt for request in server.requests[before:]}
    assert not again & {asked(row) for row in rows[:8]}
    assert [row["row"] for row in answers(tmp_path / "out")] == list(range(1, 15))
    before = len(server.requests)
    assert predict(*command) == 0
    assert len(server.requests) == before
    lines(source, rows[1:])
    assert predict(*command) == 2
    assert "another input" in capsys.readouterr().err


def test_shards_are_all_rows_once(predict: Predict, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name, part in (("a", reviews(4)), ("b", reviews(3))):
        pq.write_table(pa.Table.from_pylist(part), source / f"{name}.parquet")
    for shard in (1, 2, 3):
        arguments = ("--task", "review_rating", "--input", source, "--shard", f"{shard}/3", "--out", tmp_path / "out")
        assert predict(*arguments) == 0
    found = answers(tmp_path / "out")
    assert sorted(row["row"] for row in found) == list(range(1, 8))
    assert {type(row["id"]) for row in found} == {int}, "a Parquet column keeps its type"


def test_a_column_is_mapped_and_lists_are_read_from_csv(server: ChatServer, predict: Predict, tmp_path: Path) -> None:
    server.answer = lambda body: "3,1"
    source = tmp_path / "baskets.csv"
    source.write_text('bought;candidates\ntent;"[""lamp"", ""pegs"", ""rope""]"\ntent;"lamp\npegs"\ntent;\n')
    arguments = ("--task", "also_buy", "--map", "product=bought", "--no-constrained")
    assert predict(*arguments, "--input", source, "--out", tmp_path / "out") == 0
    first, second, third = answers(tmp_path / "out")
    assert (first["answer"], first["numbers"]) == (["rope", "lamp"], [3, 1])
    assert (second["answer"], second["numbers"]) == (["lamp"], [1]), "a number that the list has not is no answer"
    assert third["error"] == "candidates is missing or empty"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--task", "review_rating"], "give --input and --out"),
        (["--task", "query_relation", "--input", "IN", "--out", "OUT"], "has no column"),
        (["--task", "review_rating", "--input", "IN", "--map", "nothing=id", "--out", "OUT"], "has no field 'nothing'"),
        (["--task", "review_rating", "--input", "IN", "--map", "review=reviw", "--out", "OUT"], "Did you mean review?"),
        (["--task", "review_rating", "--input", "IN", "--shard", "4/3", "--out", "OUT"], "write K/N"),
        (["--task", "review_rating", "--input", "IN", "--sample-for-review", "3", "--out", "OUT"], "--answers scored"),
        (["--task", "review_rating", "--input", "IN", "--adapter", "a", "--out", "OUT"], "under their own names"),
        (["--task", "review_rating", "--input", "EMPTY", "--out", "OUT"], "has no rows"),
        (["--task", "review_rating", "--input", "OUT/none", "--out", "OUT"], "OUT/none"),
        (["--task", "review_rating", "--input", "IN", "--out", "FULL"], "holds something else"),
        (["--task", "review_rating", "--input", "NOTHING", "--out", "OUT"], "has no rows"),
        (["--task", "review_rating", "--input", "HEADER", "--out", "OUT"], "has no rows"),
        (["--task", "review_rating", "--input", "NO_ROWS", "--out", "OUT"], "has no rows"),
        (["--task", "review_rating", "--input", "FULL", "--out", "OUT"], "has no table"),
        (
            ["--task", "review_rating", "--input", "IN", "--engine", "dask", "--out", "OUT"],
            "Unknown --engine dask; use pyspark",
        ),
        (["--task", "review_rating", "--input", "IN", "--partitions", "2", "--out", "OUT"], "needs --engine pyspark"),
        (["--task", "review_rating", "--input", "IN", "--engine", "pyspark://h:7077", "--out", "OUT"], "give --partitions"),
        (
            ["--task", "review_rating", "--input", "IN", "--engine", "pyspark", "--shard", "1/2", "--out", "OUT"],
            "leave out --shard",
        ),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], sentence: str, predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "letter.docx").write_text("mine")
    lines(tmp_path / "IN.jsonl", reviews(2))
    lines(tmp_path / "EMPTY.jsonl", [])
    (tmp_path / "NOTHING.csv").touch()
    (tmp_path / "HEADER.csv").write_text("category,review\n")
    pq.write_table(pa.Table.from_pylist(reviews(1)).slice(1), tmp_path / "NO_ROWS.parquet")
    paths = {"IN": "IN.jsonl", "EMPTY": "EMPTY.jsonl", "OUT": "OUT", "OUT/none": "OUT/none", "FULL": "FULL"}
    paths |= {"NOTHING": "NOTHING.csv", "HEADER": "HEADER.csv", "NO_ROWS": "NO_ROWS.parquet"}
    given = [str(tmp_path / paths[each]) if each in paths else each for each in arguments]
    assert predict(*given) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("error:") == 1
    assert "Traceback" not in error


def test_a_server_that_answers_nothing_ends_the_run(
    server: ChatServer, predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.always = ErrorStatus(401, "no such key")
    source = lines(tmp_path / "reviews.jsonl", reviews(3))
    assert predict("--task", "review_rating", "--input", source, "--out", tmp_path / "out") == 2
    assert "401" in capsys.readouterr().err
    assert not answers(tmp_path / "out")


def test_whatever_a_server_does_a_row_has_an_answer_or_a_reason(server: ChatServer, predict: Predict, tmp_path: Path) -> None:
    """Each fault that a retry overcomes, once and for good, and each refusal."""
    once, always = reviews(2 * len(TRANSIENT_FAULTS))[::2], reviews(2 * len(TRANSIENT_FAULTS))[1::2]
    refusals: list[Fault] = [
        ErrorStatus(400, "no such field"),
        ErrorStatus(400, "filtered", "content_filter"),
        ErrorStatus(400, "too many tokens", "context_length_exceeded"),
        ErrorStatus(413),
        ErrorStatus(422, "what is that"),
        Body(json.dumps(completion("many")).encode()),
    ]
    refused = [{"category": "Garden", "review": f"Hose {number} leaks."} for number in range(len(refusals))]
    server.faults = {asked(row): [fault] for row, fault in zip(once, TRANSIENT_FAULTS, strict=True)}
    server.faults |= {asked(row): [fault] * 2 for row, fault in zip(always, TRANSIENT_FAULTS, strict=True)}
    server.faults |= {asked(row): [fault] for row, fault in zip(refused, refusals, strict=True)}
    source = lines(tmp_path / "reviews.jsonl", [*once, *always, *refused])
    options = ("--option", "timeout=1", "--option", "retries=1")
    assert predict("--task", "review_rating", "--input", source, "--out", tmp_path / "out", *options) == 0
    found = answers(tmp_path / "out")
    assert [row["review"] for row in found] == [row["review"] for row in (*once, *always, *refused)]
    assert all(row["answer"] in "12345" for row in found[: len(once)])
    for row in found[len(once) :]:
        assert row["answer"] is None
        assert row["error"].startswith("the model's server gave no answer: ")


def test_columns_of_any_kind_come_out_as_they_went_in(predict: Predict, tmp_path: Path) -> None:
    """Also those that are called as columns of the answers, and numbers that no float holds."""
    ids = [2**63 - 1, 2**53 + 1, None]
    columns = {
        "review": pa.array(["a", "b", "c"]).dictionary_encode(),
        "category": pa.array(["Kitchen"] * 3, pa.large_string()),
        "id": pa.array(ids, pa.int64()),
        "unsigned": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "picture": pa.array([b"\xff\x00", b"", None]),
        "seller": pa.array([{"name": "x", "stars": [1, 2]}, None, {"name": None, "stars": None}]),
        "tags": pa.array([["a"], [], None]),
        "at": pa.array([1, 2, None], pa.timestamp("ns", "Europe/Madrid")),
        "price": pa.array(["1.10", "2", None]).cast(pa.decimal128(6, 2)),
        "nothing": pa.nulls(3),
        "answer": pa.array(["x", "y", "z"]),
        "input_answer": pa.array([1, 2, 3]),
        "Error": pa.array(["mine"] * 3),
        "row": pa.array([7, 8, 9]),
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    assert predict("--task", "review_rating", "--input", tmp_path / "in.parquet", "--out", tmp_path / "out") == 0
    found = pq.read_table(next((tmp_path / "out").glob("part-*.parquet")))
    for name in ("id", "unsigned", "picture", "tags", "at", "price", "category", "input_answer"):
        assert found[name].type == columns[name].type
        assert found[name].to_pylist() == columns[name].to_pylist()
    rows = found.to_pylist()
    assert [row["review"] for row in rows] == ["a", "b", "c"]
    assert json.loads(rows[0]["seller"]) == {"name": "x", "stars": [1, 2]}
    assert [row["input_input_answer"] for row in rows] == ["x", "y", "z"]
    assert ([row["row"] for row in rows], [row["input_row"] for row in rows]) == ([1, 2, 3], [7, 8, 9])
    assert {row["input_Error"] for row in rows} == {"mine"}
    assert all(row["answer"] in "12345" for row in rows)


def test_numbers_of_json_lines_stay_what_they_are(predict: Predict, tmp_path: Path) -> None:
    numbers: list[Any] = [[1, 2.5, None], [2**53 + 1, 2, 3], [2**53 + 1, 0.5, None], [2**63, 1, 2]]
    rows = [row | {f"c{place}": column[at] for place, column in enumerate(numbers)} for at, row in enumerate(reviews(3))]
    source = lines(tmp_path / "in.jsonl", rows)
    assert predict("--task", "review_rating", "--input", source, "--out", tmp_path / "out") == 0
    found = answers(tmp_path / "out")
    assert [[row[f"c{place}"] for row in found] for place in range(4)] == [
        [1.0, 2.5, None],
        [2**53 + 1, 2, 3],
        [str(2**53 + 1), "0.5", None],
        [str(2**63), "1", "2"],
    ]


def test_the_index_that_pandas_writes_is_a_column_like_others(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(",category,review\n0,Kitchen,Good cup\n1,Kitchen,Bad cup\n")
    assert predict("--task", "review_rating", "--input", tmp_path / "in.csv", "--out", tmp_path / "out") == 0
    assert [row[""] for row in answers(tmp_path / "out")] == ["0", "1"]


def test_a_list_that_is_too_long_has_a_reason(server: ChatServer, predict: Predict, tmp_path: Path) -> None:
    server.answer = lambda body: "2"
    rows = [{"product": "tent", "candidates": [f"peg {number}" for number in range(count)]} for count in (99, 100)]
    source = lines(tmp_path / "in.jsonl", rows)
    assert predict("--task", "also_buy", "--input", source, "--out", tmp_path / "out") == 0
    first, second = answers(tmp_path / "out")
    assert first["answer"] == ["peg 1"]
    assert second["error"] == "candidates has more than 99 items: 100"


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(
    server: ChatServer, predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parts, "FEWEST", 4)
    monkeypatch.setattr(parts, "MOST", 4)
    write, left = pq.write_table, iter([True])

    def full(table: pa.Table, path: Path, **options: Any) -> None:
        if next(left, False):
            write(table, path, **options)
            return
        path.write_bytes(b"PAR1")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source = lines(tmp_path / "in.jsonl", reviews(10))
    command = ("--task", "review_rating", "--input", source, "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        assert predict(*command) == 2
    error = capsys.readouterr().err
    assert "part-000001.parquet: cannot be written (No space left on device)" in error
    assert error.count("error:") == 1
    assert not list((tmp_path / "out").glob("*.tmp"))
    asked_first = server.prompts()[:4]
    before = len(server.requests)
    assert predict(*command) == 0
    assert not set(asked_first) & set(server.prompts()[before:])
    assert [row["row"] for row in answers(tmp_path / "out")] == list(range(1, 11))


def test_a_folder_of_another_run_is_refused(predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lines(tmp_path / "in.jsonl", [row | {"query": "cup", "product": "cup"} for row in reviews(2)])
    command = ("--input", source, "--out", tmp_path / "out")
    assert predict("--task", "review_rating", *command) == 0
    for other, what in (
        (("--task", "query_product_relation"), "task"),
        (("--task", "review_rating", "--no-constrained"), "constrained"),
        (("--task", "review_rating", "--option", "temperature=1"), "model"),
        (("--task", "review_rating", "--map", "review=product"), "columns"),
    ):
        assert predict(*other, *command) == 2
        error = capsys.readouterr().err
        assert "holds the answers of another run" in error
        assert what in error
    assert predict("--task", "review_rating", *command) == 0, "the same command finds all rows answered"


def test_a_mistake_is_seen_before_the_model_is_loaded_and_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = lines(tmp_path / "in.jsonl", reviews(2))
    command = ("--task", "review_rating", "--input", source, "--model", tmp_path / "none", "--out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    assert run_command("eval_tasks.predict", *command, tmp_path / "full") == 2
    assert "holds something else" in capsys.readouterr().err
    assert run_command("eval_tasks.predict", *command, tmp_path / "out") == 2
    assert "is no file or folder here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_input_may_be_a_dataset_on_the_hub(hub_client: Hub, predict: Predict, tmp_path: Path) -> None:
    from huggingface_hub import HfApi

    pq.write_table(pa.Table.from_pylist(reviews(3)), tmp_path / "in.parquet")
    api = HfApi(endpoint=hub_client.endpoint)
    api.create_repo("org/reviews", repo_type="dataset")
    for path in ("data/train.parquet", "README.md"):
        content = tmp_path / "in.parquet" if path.endswith("parquet") else b"# Reviews"
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id="org/reviews", repo_type="dataset")
    assert predict("--task", "review_rating", "--input", "org/reviews", "--out", tmp_path / "out") == 0
    assert len(answers(tmp_path / "out")) == 3
    assert predict("--task", "review_rating", "--input", "org/none", "--out", tmp_path / "other") == 2


@pytest.mark.parametrize("name", TASKS)
def test_a_row_is_asked_as_the_evaluation_asks_it(name: str) -> None:
    """Written, and scored where the task can be, each by the same prompts."""
    task = TASKS[name]
    assert render_prompt(row_form(name, False, list(EXAMPLES), {}).template, EXAMPLES | {"options": ["a", "b"]})
    needed = set.union(*(fields for _, fields in wordings(task, False)))
    values = {field: EXAMPLES[field] for field in needed}
    written = row_form(name, False, list(values), {})
    fields = written.fields(values)
    [prompt] = written.prompts(fields)
    doc = Doc(
        query=render_prompt(written.template, fields),
        choices=["1"],
        gold_index=0,
        specific={"answer": "1", "pattern": getattr(prompt, "pattern", "")},
        task_name=f"shop:{name}|0",
        generation_size=task.max_new_tokens,
        stop_sequences=["\n"],
    )
    assert prompt == prompt_of(doc)
    scored = row_form(name, True, list(values), {})
    if scored.scored:
        [row] = scored_rows([doc]).values()
        own = scored.prompts(scored.fields(values))
        assert [(each.prompt.plain, each.candidates) for each in own] == [  # type: ignore[union-attr]
            (each.prompt.plain, each.candidates) for each in row.prompts
        ]
    assert described(name).count(task.title) >= 1


def test_scored_answers_have_probabilities_and_the_least_certain_are_for_review(tiny_llama: Path, tmp_path: Path) -> None:
    rows = [{"query": f"bottle {number}", "product": "steel bottle", "id": number} for number in range(5)] + [{"query": "cup"}]
    source = lines(tmp_path / "pairs.jsonl", rows)
    arguments = ("--task", "query_product_relation", "--input", source, "--model", tiny_llama, "--answers", "scored")
    out = tmp_path / "out"
    assert run_command("eval_tasks.predict", *arguments, "--sample-for-review", 2, "--out", out) == 0
    found = answers(out)
    assert found[5]["error"] == "product is missing or empty"
    assert found[5]["probabilities"] is None
    for row in found[:5]:
        chances = row["probabilities"]
        assert sum(chances.values()) == pytest.approx(1)
        assert row["answer"] == max(chances, key=chances.get)
        assert row["confidence"] == max(chances.values())
    review = [json.loads(line) for line in (out / "review.jsonl").read_text().splitlines()]
    least = sorted(found[:5], key=lambda row: row["confidence"])[:2]
    assert [(row["id"], row["predicted"]) for row in review] == [(row["id"], row["answer"]) for row in least]
    assert {row["label"] for row in review} == {""}


def test_lists_by_text_are_those_of_the_evaluation_and_have_no_confidence(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from eval_tasks.backends.prompts import parse_options
    from eval_tasks.transformers_model import TransformersBackend, load

    task = TASKS["also_buy"]
    fields = {"product": "steel bottle", "candidates": ["bottle brush", "garden hose", "red shoes"], "number": "1 product"}
    arguments = ("--task", task.name, "--input", lines(tmp_path / "in.jsonl", [fields]), "--model", tiny_llama)
    text = ("--lists", "text", "--out", tmp_path / "out")
    assert run_command("eval_tasks.predict", *arguments, "--answers", "scored", *text) == 0
    [found] = answers(tmp_path / "out")
    [row] = scored_rows(
        [Doc(render_prompt(task.templates[0], fields), [""], 0, task_name=f"shop:{task.name}|0")], "text"
    ).values()
    loaded = load(parse_options(f"model_name={tiny_llama}", TransformersBackend.OPTIONS))
    likelihoods = dict(loaded.score(row.prompts, None))
    assert ",".join(map(str, found["numbers"])) == row.answer([likelihoods[place] for place in range(6)], {})
    scores = [likelihoods[place][0] + task.by_text.direct * likelihoods[place + 1][0] for place in (0, 2, 4)]
    assert found["scores"] == pytest.approx(scores, abs=1e-3)
    assert found["confidence"] is None
    for given, sentence in (
        ((*text, "--answers", "scored", "--sample-for-review", 1), "and --lists words"),
        (text, "--lists text is of scored answers; give --answers scored, or leave it out"),
    ):
        assert run_command("eval_tasks.predict", *arguments, *given) == 2
        assert sentence in capsys.readouterr().err


def test_who_lets_a_model_write_lists_that_it_learnt_by_text_is_told(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = random_adapter(tiny_llama, tmp_path / "adapter", seed=3)
    (adapter / "training_summary.json").write_text(json.dumps(BY_TEXT))
    source = lines(tmp_path / "in.jsonl", [{"query": "bottle", "products": ["cup", "hose", "lamp", "tent", "mug"]}])
    arguments = ("--task", "query_product_ranking", "--input", source, "--model", tiny_llama, "--adapter", adapter)
    assert run_command("eval_tasks.predict", *arguments, "--out", tmp_path / "written") == 0
    assert "note: --answers scored would score lists by text: the adapter was trained on" in capsys.readouterr().out
    assert run_command("eval_tasks.predict", *arguments, "--answers", "scored", "--out", tmp_path / "scored") == 0
    assert "\nlists by text: the adapter" in "\n" + capsys.readouterr().out
    assert max(answers(tmp_path / "scored")[0]["scores"]) < 0


def test_a_prompt_that_does_not_fit_has_a_reason(tiny_llama: Path, tmp_path: Path) -> None:
    rows = [{"category": "c", "review": "ok"}, {"category": "c", "review": "odd words " * 70}]
    source = lines(tmp_path / "reviews.jsonl", rows)
    arguments = ("--task", "review_rating", "--input", source, "--model", tiny_llama, "--option", "max_length=150")
    assert run_command("eval_tasks.predict", *arguments, "--out", tmp_path / "out") == 0
    first, second = answers(tmp_path / "out")
    assert first["answer"] in "12345", "constrained, so that it can be read"
    assert second["error"].startswith("the prompt is too long for the model")


def test_reviewed_rows_are_a_table_that_a_dataset_is_built_of(server: ChatServer, tiny_llama: Path, tmp_path: Path) -> None:
    """The loop closes: people fill in the labels of the least certain rows, the build takes them as ratings, `annotate` checks
    them with a language model, and what it agrees with are rows to train on."""
    texts = [f"The {thing} number {number} broke on day {number}." for number in range(6) for thing in ("cup", "lamp", "tent")]
    rows = [
        {"review_id": str(number), "product_id": f"p{number}", "category": "Kitchen", "text": text}
        for number, text in enumerate(texts)
    ]
    source = lines(tmp_path / "in.jsonl", rows)
    arguments = ("--task", "review_rating", "--input", source, "--map", "review=text", "--model", tiny_llama)
    review = ("--answers", "scored", "--sample-for-review", 12, "--out", tmp_path / "out")
    assert run_command("eval_tasks.predict", *arguments, *review) == 0
    labelled = [json.loads(line) for line in (tmp_path / "out" / "review.jsonl").read_text().splitlines()]
    assert len(labelled) == 12
    tables = tmp_path / "tables"
    tables.mkdir()
    lines(tables / "review.jsonl", [{**row, "label": str(1 + place % 5)} for place, row in enumerate(labelled)])
    columns = "{review_id: review_id, product_id: product_id, category: category, text: text, rating: label}"
    (tmp_path / "map.yaml").write_text(f"locale: us\ntables:\n  reviews:\n    - file: review.jsonl\n      columns: {columns}\n")
    build = ("--tables", tables, "--map", tmp_path / "map.yaml", "--tasks", "review_rating", "--out", tmp_path / "dataset")
    assert run_command("dataset_builders.build", *build) == 0
    built = [
        row for path in (tmp_path / "dataset").glob("data/review_rating/*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    assert {row["answer"] for row in built} <= {json.dumps(str(rating)) for rating in range(1, 6)}
    assert len(built) == 12
    labels = {row["prompt"][0]["content"]: json.loads(row["answer"]) for row in built}
    wrong = min(labels)
    said = labels | {wrong: str(int(labels[wrong]) % 5 + 1)}
    server.answer = lambda body: said[body["messages"][-1]["content"]]
    at = ("--data", tmp_path / "dataset", "--endpoint", server.url, "--model", "served", "--out", tmp_path / "checked")
    assert run_command("dataset_builders.annotate", *at) == 0
    files = (tmp_path / "checked").glob("data/review_rating/*.parquet")
    kept = [row for path in files for row in pq.read_table(path).to_pylist()]
    assert {row["prompt"][0]["content"] for row in kept} == set(labels) - {wrong}
    assert all(row["completion"][0]["content"].strip() == json.loads(row["answer"]) for row in kept)


def test_an_adapter_answers_what_the_evaluation_would_have(tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from eval_tasks.backends.answer_store import AnswerStore
    from eval_tasks.backends.lighteval_model import answer_prompts
    from eval_tasks.backends.prompts import parse_options
    from eval_tasks.transformers_model import TransformersBackend, load

    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_llama),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    )
    model.save_pretrained(str(tmp_path / "adapter"))
    products = [{"product": f"{thing} {number}"} for number in range(4) for thing in ("cup", "lamp", "tent")]
    source = lines(tmp_path / "in.jsonl", products)
    arguments = ("--task", "query_generation", "--input", source, "--model", tiny_llama, "--adapter", tmp_path / "adapter")
    assert run_command("eval_tasks.predict", *arguments, "--out", tmp_path / "out") == 0
    loaded = load(parse_options(f"model_name={tiny_llama}", TransformersBackend.OPTIONS), [tmp_path / "adapter"])
    form = row_form("query_generation", False, ["product"], {})
    prompts: list[Any] = [form.prompts(form.fields(row))[0] for row in products]
    store = AnswerStore(tmp_path / "store" / "answers.sqlite")
    expected = answer_prompts(loaded, prompts, tmp_path / "adapter", True, store)
    assert [row["text"] for row in answers(tmp_path / "out")] == expected
    assert expected != answer_prompts(loaded, prompts, None, True, store)
