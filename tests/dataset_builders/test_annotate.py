"""`python -m dataset_builders.annotate` against a scripted server: which rows are kept, what they tell, what is never lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from common.tasks import TASKS
from common.words import row_task
from dataset_builders.dataset_files import write_checksums
from tests.chat_faults import ErrorStatus
from tests.chat_server import ChatServer, chat_server
from tests.dataset_builders.conftest import run_command

ROOT = Path(__file__).parents[2]
ASKED = ("query_relation", "query_product_ranking", "also_buy")
BUILT = ("review_rating", *ASKED, "answer_generation")
KEY = "-".join(("sk", "annotate-0123456789"))

Rows = list[dict[str, Any]]


def run(*arguments: object) -> int:
    return run_command("annotate", *arguments)


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def rows_of(folder: Path, task: str, split: str = "*") -> Rows:
    return [row for path in sorted(folder.glob(f"data/{task}/{split}-*.parquet")) for row in pq.read_table(path).to_pylist()]


def prompt_of(row: dict[str, Any]) -> str:
    return str(row["prompt"][0]["content"])


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wrong(row: dict[str, Any]) -> str:
    """A readable answer that does not agree."""
    right = json.loads(row["answer"])
    task = row_task(TASKS[row["task"]], right)
    if task.family == "multiple_choice":
        return next(label for label in task.labels if label != right)
    if row["task"] == "query_product_ranking":
        return ",".join(map(str, sorted(range(1, 6), key=lambda number: right[number - 1])))
    return ",".join(str(number) for number in range(1, 16) if number not in right)


class Script:
    """What the server says: the right answer, or what is noted for a row's id, by the model's name where it is so."""

    def __init__(self, dataset: Path) -> None:
        self.rows = {prompt_of(row): row for task in TASKS for row in rows_of(dataset, task)}
        self.answers: dict[str, Callable[[dict[str, Any]], str]] = {}

    def __call__(self, body: dict[str, Any]) -> str:
        row = self.rows[body["messages"][-1]["content"]]
        noted = self.answers.get(row["sample_id"])
        return noted(body) if noted else str(row["completion"][0]["content"])

    def note(self, row: dict[str, Any], text: str) -> None:
        self.answers[row["sample_id"]] = lambda _: text


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, corpora: Path, run_build: Callable[..., int]) -> Path:
    """A dataset of a few tasks. Not to be written to."""
    out = tmp_path_factory.mktemp("built") / "dataset"
    assert run_build("--raw", corpora, "--out", out, "--tasks", ",".join(BUILT)) == 0
    return out


@pytest.fixture(scope="module")
def chat() -> Iterator[ChatServer]:
    with chat_server() as server:
        yield server


@pytest.fixture
def script(chat: ChatServer, dataset: Path) -> Script:
    """A server that agrees with all rows, until the test notes something else."""
    chat.answer = script = Script(dataset)
    chat.requests.clear()
    chat.faults.clear()
    chat.seconds = 0.0
    return script


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, chat: ChatServer, dataset: Path) -> Path:
    """A checked dataset: of each task asked, every third row is answered wrongly, and every seventh unreadably. Not to be
    written to."""
    chat.answer = script = Script(dataset)
    for task in ASKED:
        for number, row in enumerate(rows_of(dataset, task)):
            if number % 3 == 0 or number % 7 == 0:
                script.note(row, wrong(row) if number % 3 == 0 else "That depends.")
    out = tmp_path_factory.mktemp("annotated") / "checked"
    assert run("--data", dataset, "--tasks", ",".join(ASKED), *to(chat), "--out", out) == 0
    return out


def to(chat: ChatServer, model: str = "judge") -> tuple[str, ...]:
    return ("--endpoint", chat.url, "--model", model)


# Which rows are kept, and what they tell.


def test_rows_are_kept_where_the_model_agrees_in_both_splits_alike(checked: Path, dataset: Path) -> None:
    for task in ASKED:
        before = rows_of(dataset, task)
        kept = {row["sample_id"] for number, row in enumerate(before) if number % 3 and number % 7}
        assert {row["sample_id"] for row in rows_of(checked, task)} == kept
        for split in ("train", "test"):
            there = {row["sample_id"] for row in rows_of(dataset, task, split)}
            assert {row["sample_id"] for row in rows_of(checked, task, split)} == kept & there


def test_rows_carry_how_they_were_labelled(checked: Path) -> None:
    for task in BUILT:
        for row in rows_of(checked, task):
            told = (row["label_source"], row["label_votes"], row["label_agreement"])
            if task in ASKED:
                assert told == ("agree", json.dumps({"judge": [row["completion"][0]["content"]]}), 1.0)
            else:
                assert told == ("constructed", None, None)


def test_nothing_else_of_a_row_changes(checked: Path, dataset: Path) -> None:
    for task in BUILT:
        before = {row["sample_id"]: row for row in rows_of(dataset, task)}
        after = rows_of(checked, task)
        assert [{**before[row["sample_id"]], **{name: row[name] for name in row if "label_" in name}} for row in after] == after
        if task not in ASKED:
            assert len(after) == len(before)


def test_every_row_that_was_read_is_kept_or_rejected_with_its_reason(checked: Path, dataset: Path) -> None:
    [annotation] = manifest(checked)["annotations"]
    rejects = pq.read_table(checked / "rejects" / "annotation-1.parquet").to_pylist()
    assert list(annotation["tasks"]) == [task for task in TASKS if task in ASKED]
    for task, counts in annotation["tasks"].items():
        before = rows_of(dataset, task)
        rejected = [row for row in rejects if row["task"] == task]
        expected = {
            row["sample_id"]: "the answer differs from the label" if number % 3 == 0 else "no answer could be read"
            for number, row in enumerate(before)
            if number % 3 == 0 or number % 7 == 0
        }
        assert {row["sample_id"]: row["reason"] for row in rejected} == expected
        assert counts["read"] == len(before) == counts["kept"] + sum(counts["rejects"].values())
        assert sum(counts["rejects"].values()) == len(rejected)
        splits = {row["sample_id"]: split for split in ("train", "test") for row in rows_of(dataset, task, split)}
        assert all(row["split"] == splits[row["sample_id"]] and row["label_votes"] for row in rejected)
    assert annotation["not_asked"] == [task for task in TASKS if task in set(BUILT) - set(ASKED)]


def test_agreement_is_reported_by_task_and_label_and_told_on_the_card(checked: Path, dataset: Path) -> None:
    report = json.loads((checked / "agreement.json").read_text())
    assert report == manifest(checked)["annotations"][0]
    found = report["tasks"]["query_relation"]["models"]["judge"]
    before = rows_of(dataset, "query_relation")
    agreed = sum(1 for number in range(len(before)) if number % 3 and number % 7)
    assert (found["answers"], found["agreed"]) == (len(before), agreed)
    assert sum(label["answers"] for label in found["labels"].values()) == len(before)
    assert sum(label["agreed"] for label in found["labels"].values()) == agreed
    assert all(sum(said.values()) == found["labels"][label]["answers"] for label, said in found["confusion"].items())
    assert set(found["labels"]) <= {"narrowing", "substitute", "complement", "irrelevant"}
    card = (checked / "README.md").read_text()
    assert "## Labels that a language model checked" in card
    assert f"| `query_relation`<br>judge | {len(before)} |" in card
    assert (checked / report["picture"]).read_bytes().startswith(b"\x89PNG")
    assert f'<img src="{report["picture"]}"' in card


# The folder is a dataset as a build's.


def test_load_dataset_loads_all_of_it(checked: Path, tmp_path: Path) -> None:
    from datasets import Value, load_dataset

    for config, counts in manifest(checked)["configs"].items():
        loaded = load_dataset(str(checked), config, cache_dir=str(tmp_path))
        assert {split: len(rows) for split, rows in loaded.items()} == {
            split: counts[split] for split in ("train", "test") if counts[split]
        }
        for rows in loaded.values():
            assert rows.features["label_agreement"] == Value("float64")
            assert rows.features["label_votes"] == Value("string")


def test_training_reads_its_rows(checked: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from training.mixture import load_rows

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    rows = load_rows(str(checked), None, "train", None, "query_relation,also_buy")
    assert len(rows) == sum(manifest(checked)["configs"][task]["train"] for task in ("query_relation", "also_buy"))


def test_it_can_be_published_with_its_picture(checked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dataset_builders.publish import main

    main(["--data", str(checked), "--repo-id", "org/rows", "--dry-run"])
    told = capsys.readouterr().out
    assert "images/agreement-1.png" in told
    assert "rejects" not in told


def test_it_says_no_key_and_no_place_of_this_machine(checked: Path, dataset: Path, chat: ChatServer) -> None:
    content = b"".join(files(checked).values())
    for secret in (chat.url, str(dataset), str(checked)):
        assert secret.encode() not in content


def test_checked_again_with_another_model_it_keeps_what_the_first_check_told(
    checked: Path, dataset: Path, chat: ChatServer, script: Script, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    assert run("--data", checked, "--tasks", "review_rating,also_buy", *to(chat, "second"), "--out", out) == 0
    first, second = manifest(out)["annotations"]
    assert [first["models"], second["models"]] == [["judge"], ["second"]]
    assert {row["label_votes"] for row in rows_of(out, "query_relation")} == {
        row["label_votes"] for row in rows_of(checked, "query_relation")
    }
    assert all("second" in json.loads(row["label_votes"]) for row in rows_of(out, "review_rating"))
    assert {"images/agreement-1.png", "images/agreement-2.png", "rejects/annotation-1.parquet"} <= set(files(out))
    assert (out / "README.md").read_text().count("answered the prompts of the rows") == 2


# Asking.


def test_a_second_run_asks_nothing_and_another_policy_neither(
    dataset: Path, chat: ChatServer, script: Script, tmp_path: Path
) -> None:
    wrong_row = rows_of(dataset, "query_relation")[4]
    script.note(wrong_row, wrong(wrong_row))
    options = ("--data", dataset, "--tasks", "query_relation", *to(chat), "--answers", tmp_path / "answers")
    assert run(*options, "--out", tmp_path / "one") == 0
    asked = len(chat.requests)
    assert asked == len(rows_of(dataset, "query_relation"))
    assert run(*options, "--out", tmp_path / "same") == 0
    assert files(tmp_path / "one") == files(tmp_path / "same")
    assert run(*options, "--out", tmp_path / "other", "--keep", "all") == 0
    assert len(chat.requests) == asked
    assert len(rows_of(tmp_path / "other", "query_relation")) == asked == len(rows_of(tmp_path / "one", "query_relation")) + 1
    [told] = [row for row in rows_of(tmp_path / "other", "query_relation") if row["sample_id"] == wrong_row["sample_id"]]
    assert (told["label_source"], told["label_agreement"]) == ("all", 0.0)


def test_a_changed_prompt_is_asked_anew_and_no_other(dataset: Path, chat: ChatServer, script: Script, tmp_path: Path) -> None:
    import pyarrow as pa

    options = ("--tasks", "query_relation", *to(chat), "--answers", tmp_path / "answers")
    assert run("--data", dataset, *options, "--out", tmp_path / "one") == 0
    changed = shutil.copytree(dataset, tmp_path / "changed")
    path = changed / "data" / "query_relation" / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[1]["prompt"][0]["content"] += " "
    script.rows[prompt_of(rows[1])] = rows[1]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    write_checksums(changed, [path for folder in ("data", "images") for path in (changed / folder).rglob("*.*")])
    chat.requests.clear()
    assert run("--data", changed, *options, "--out", tmp_path / "two") == 0
    assert chat.prompts() == [prompt_of(rows[1])]


def test_more_rows_ask_only_for_those_that_come_to_them(
    dataset: Path, chat: ChatServer, script: Script, tmp_path: Path
) -> None:
    options = ("--data", dataset, "--tasks", "query_relation,also_buy", *to(chat), "--answers", tmp_path / "answers")
    assert run(*options, "--max-rows", 5, "--out", tmp_path / "few") == 0
    few = set(chat.prompts())
    assert len(few) == 10
    left_out = {task: len(rows_of(dataset, task)) - 5 for task in ("query_relation", "also_buy")}
    [annotation] = manifest(tmp_path / "few")["annotations"]
    for task, counts in annotation["tasks"].items():
        assert counts["rejects"] == {"not asked, since --max-rows leaves it out": left_out[task]}
        assert counts["kept"] == 5 == len(rows_of(tmp_path / "few", task))
    assert run(*options, "--max-rows", 8, "--out", tmp_path / "more") == 0
    assert len(chat.prompts()) == 16
    assert {prompt_of(row) for task in left_out for row in rows_of(tmp_path / "more", task)} >= few


def test_splits_that_are_not_asked_stay(dataset: Path, chat: ChatServer, script: Script, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("--data", dataset, "--tasks", "query_relation", "--splits", "test", *to(chat), "--out", out) == 0
    assert len(chat.requests) == len(rows_of(dataset, "query_relation", "test"))
    for split, source in (("train", "constructed"), ("test", "agree")):
        rows = rows_of(out, "query_relation", split)
        assert len(rows) == len(rows_of(dataset, "query_relation", split))
        assert {row["label_source"] for row in rows} == {source}


def test_a_majority_of_samples_decides(dataset: Path, chat: ChatServer, script: Script, tmp_path: Path) -> None:
    rows = rows_of(dataset, "query_relation")
    right_of = {row["sample_id"]: number % 4 for number, row in enumerate(rows)}  # so many of three samples

    def says(row: dict[str, Any]) -> Callable[[dict[str, Any]], str]:
        return lambda body: row["completion"][0]["content"] if body["seed"] < right_of[row["sample_id"]] else wrong(row)

    script.answers = {row["sample_id"]: says(row) for row in rows}
    options = ("--data", dataset, "--tasks", "query_relation", *to(chat), "--samples", 3, "--answers", tmp_path / "answers")
    for policy, least in (("majority", 2), ("agree", 3)):
        assert run(*options, "--keep", policy, "--out", tmp_path / policy) == 0
        kept = {row["sample_id"]: row["label_agreement"] for row in rows_of(tmp_path / policy, "query_relation")}
        assert kept == {name: right / 3 for name, right in right_of.items() if right >= least}
    assert len(chat.requests) == 3 * len(rows)
    assert {request.body["temperature"] for request in chat.requests} == {0.7}


def test_two_models_have_to_agree_each_with_its_own_key(
    dataset: Path, chat: ChatServer, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OTHER_KEY", KEY[::-1])
    rows = rows_of(dataset, "query_relation")
    for number, row in enumerate(rows):
        doubts = {0: (), 1: ("one",), 2: ("other",), 3: ("one", "other")}[number % 4]
        says = lambda body, row=row, doubts=doubts: wrong(row) if body["model"] in doubts else row["completion"][0]["content"]  # noqa: E731
        script.answers[row["sample_id"]] = says
    out = tmp_path / "out"
    second = ("--second-model", "other", "--second-key-env", "OTHER_KEY", "--keep", "two-models")
    assert run("--data", dataset, "--tasks", "query_relation", *to(chat, "one"), *second, "--out", out) == 0
    assert {row["sample_id"] for row in rows_of(out, "query_relation")} == {row["sample_id"] for row in rows[::4]}
    asked = {(request.body["model"], request.authorization) for request in chat.requests}
    assert asked == {("one", f"Bearer {KEY}"), ("other", f"Bearer {KEY[::-1]}")}
    reasons = manifest(out)["annotations"][0]["tasks"]["query_relation"]["rejects"]
    one = len(rows[1::4]) + len(rows[2::4])
    assert reasons == {"only one of the two models agrees": one, "the answer differs from the label": len(rows[3::4])}
    content = b"".join([*files(out).values(), *files(tmp_path / "out.answers").values()])
    assert KEY.encode() not in content
    assert KEY[::-1].encode() not in content


def test_a_row_that_is_refused_is_rejected_for_it(dataset: Path, chat: ChatServer, script: Script, tmp_path: Path) -> None:
    refused = rows_of(dataset, "query_relation")[3]
    chat.faults[prompt_of(refused)] = [ErrorStatus(400, "filtered", code="content_filter")]
    out = tmp_path / "out"
    assert run("--data", dataset, "--tasks", "query_relation", *to(chat), "--out", out) == 0
    counts = manifest(out)["annotations"][0]["tasks"]["query_relation"]
    assert counts["rejects"] == {"content filter": 1}
    assert counts["models"]["judge"]["refused"] == {"content filter": 1}
    assert counts["models"]["judge"]["unreadable"] == 0


# What is written, and when not.


def test_a_dry_run_sends_and_writes_nothing(
    dataset: Path, chat: ChatServer, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = ("--price-out", "1000000")
    options = ("--data", dataset, "--tasks", "query_relation", *to(chat), "--out", tmp_path / "out")
    assert run(*options, *prices, "--dry-run") == 0
    assert chat.requests == []
    assert not (tmp_path / "out").exists()
    rows = rows_of(dataset, "query_relation")
    told = capsys.readouterr().out
    tokens = len(rows) * TASKS["query_relation"].max_new_tokens
    assert f"{len(rows)}" in told
    assert f"{tokens:,}" in told
    assert f"{tokens:,}.00" in told
    assert run(*options) == 0
    capsys.readouterr()
    assert run(*options, "--dry-run") == 0
    assert "│        0 │" in capsys.readouterr().out


def test_a_task_of_which_nothing_is_kept_is_told_and_left_out(
    dataset: Path, chat: ChatServer, script: Script, tmp_path: Path
) -> None:
    for row in rows_of(dataset, "query_product_ranking"):
        script.note(row, "cannot say")
    out = tmp_path / "out"
    assert run("--data", dataset, "--tasks", "query_product_ranking", *to(chat), "--out", out) == 0
    assert not {"query_product_ranking", "ranking"} & manifest(out)["configs"].keys()
    assert "none of its rows was kept" in manifest(out)["not_built"]["query_product_ranking"]
    assert "- `query_product_ranking`: none of its rows was kept" in (out / "README.md").read_text()


def test_where_nothing_at_all_is_kept_the_old_folder_stays(
    corpora: Path,
    run_build: Callable[..., int],
    chat: ChatServer,
    script: Script,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    only, out = tmp_path / "only", tmp_path / "out"
    assert run_build("--raw", corpora, "--out", only, "--tasks", "query_relation") == 0
    options = ("--data", only, "--out", out, "--max-rows", 5)
    assert run(*options, *to(chat)) == 0
    before = files(out)
    for row in rows_of(only, "query_relation"):
        script.note(row, wrong(row))
    assert run(*options, *to(chat, "stern")) == 2
    told = capsys.readouterr()
    assert "no row of" in told.err
    assert "the answer differs from the label" in told.out
    assert files(out) == before


def test_a_killed_run_leaves_the_old_folder_and_goes_on_where_it_was(
    dataset: Path, chat: ChatServer, script: Script, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ["--data", dataset, "--tasks", "query_relation", *to(chat), "--out", out]
    assert run(*options, "--max-rows", 3) == 0
    before = files(out)
    chat.requests.clear()
    chat.seconds = 0.1
    command = [sys.executable, "-m", "dataset_builders.annotate", *map(str, options), "--concurrency", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(chat.requests) >= 8)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert files(out) == before
    asked = len(chat.requests)
    chat.seconds = 0.0
    chat.requests.clear()
    assert run(*options) == 0
    rows = len(rows_of(dataset, "query_relation"))
    assert len(rows_of(out, "query_relation")) == rows
    assert len(chat.requests) <= rows - 3 - asked + 2  # what was under way is asked again


def wait_for(is_so: Callable[[], bool]) -> None:
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError("it does not come")


def test_a_run_through_batch_files_gives_what_an_endpoint_gives(
    dataset: Path, chat: ChatServer, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(dataset, "query_relation")
    script.note(rows[2], wrong(rows[2]))
    asked = ("--data", dataset, "--tasks", "query_relation")
    assert run(*asked, *to(chat), "--out", tmp_path / "asked") == 0
    chat.requests.clear()
    options = (*asked, "--model", "judge", "--out", tmp_path / "out")
    assert run(*options) == 2
    assert f"{len(rows)} of {len(rows)} replies of judge are missing" in capsys.readouterr().err
    assert run(*options, "--batch-out", tmp_path / "batch") == 0
    results = []
    for path in sorted((tmp_path / "batch").glob("*.jsonl")):
        results.append(tmp_path / f"results-{path.name}")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        results[-1].write_text("".join(json.dumps(answered(line, script(line["body"]))) + "\n" for line in lines))
    assert run(*options, "--batch-in", *results) == 0
    assert chat.requests == []
    assert files(tmp_path / "out") == files(tmp_path / "asked")


def answered(line: dict[str, Any], text: str) -> dict[str, Any]:
    """A line of a batch's output file (https://platform.openai.com/docs/guides/batch)."""
    message = {"role": "assistant", "content": text}
    body = {"id": "c", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return {"id": "b", "custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}


BAD = {
    "--tasks query_relations": "has no task query_relations",
    "--tasks answer_generation": "a free text that differs",
    "--tasks ,": "has no task whose answers can be compared",
    "--splits dev": "Unknown --splits dev; use train or test",
    "--samples 0": "--samples must be 1 or more, not 0",
    "--samples 3 --temperature 0": "are all equal",
    "--temperature 3": "--temperature must be between 0 and 2, not 3.",
    "--keep majority": "--samples 3 or more",
    "--keep two-models": "needs a second model",
    "--second-model other": "uses one model",
    "--keep two-models --second-model judge": "is also --model",
    "--max-rows 0": "--max-rows must be 1 or more, not 0",
    "--agreement 0.5": "Cannot read --agreement '0.5'",
    "--concurrency 0": "--concurrency must be 1 or more, not 0",
    "--timeout 0": "--timeout must be 1 or more, not 0",
    "--price-in nan": "--price-in must be 0 or more, not nan",
    "--extra top_p": "is not a JSON object",
    "--endpoint localhost": "is not a server's URL",
    "--batch-in nowhere.jsonl": "is not a file",
    "--batch-out batch --dry-run": "--dry-run writes nothing",
    "--answers README.md": "README.md cannot be",
    "--answers {out}": "is inside --out",
    "--batch-out {out}/batch": "is inside --out",
}


@pytest.mark.parametrize("options", BAD)
def test_a_wrong_option_is_refused_in_one_sentence(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str
) -> None:
    given = ("--data", dataset, "--model", "judge", "--out", tmp_path / "out")
    assert run(*given, *options.format(out=tmp_path / "out").split()) == 2
    told = capsys.readouterr().err
    assert BAD[options] in told
    assert told.startswith("error: ")
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_dataset_is_told(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    given = ("--model", "judge", "--endpoint", "http://localhost:1/v1")
    assert run("--data", tmp_path / "empty", *given, "--out", tmp_path / "out") == 2
    assert "is not a built dataset" in capsys.readouterr().err
    assert run("--data", dataset, *given, "--out", dataset) == 2
    assert "--out and --data are the same folder" in capsys.readouterr().err


def test_a_folder_that_cannot_be_replaced_is_refused_before_anything_is_asked(
    dataset: Path, chat: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    before = len(chat.requests)
    assert run("--data", dataset, "--model", "judge", "--endpoint", chat.url, "--out", tmp_path) == 2
    assert "holds something else" in capsys.readouterr().err
    assert len(chat.requests) == before


def test_help_names_every_option_without_a_heavy_import() -> None:
    code = (
        "import sys, runpy; sys.argv = ['annotate', '--help']\n"
        "try: runpy.run_module('dataset_builders.annotate', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'pandas', 'pyarrow', 'ibis', 'openai', 'matplotlib', 'numpy'} & sys.modules.keys()))"
    )
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for option in ("--data", "--out", "--seed", "--dry-run", "--keep", "--endpoint", "--batch-out", "--price-in", "--key-env"):
        assert option in done.stdout
