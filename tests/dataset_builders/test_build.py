"""The build from a folder of files to a dataset that loads: its rows, its account, its fingerprint, and its sentences."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.answers import decode_answer, gold, listed_numbers, parse_completion, render_completion
from common.errors import UserError
from common.prompts import read_fields
from common.tasks import FAMILIES, TASKS
from common.words import row_task
from dataset_builders import assembly, rendering, spans
from dataset_builders.build import parse_tasks
from dataset_builders.splits import is_test
from tests import raw

Build = Callable[..., int]
FOUR = "review_rating,query_product_ranking,also_buy,answer_generation"


def manifest(out: Path) -> dict[str, Any]:
    return json.loads((out / "manifest.json").read_text())


def rows_of(out: Path, task: str, split: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    path = out / "data" / task / f"{split}-00000-of-00001.parquet"
    return pq.read_table(path).to_pylist() if path.exists() else []


def all_rows(out: Path) -> list[tuple[str, dict[str, Any]]]:
    built = [name for name in manifest(out)["configs"] if name in TASKS]
    return [(split, row) for name in built for split in ("train", "test") for row in rows_of(out, name, split)]


def balanced(out: Path) -> None:
    """read = in a row + sum of rejects, for every source."""
    for source, counts in manifest(out)["sources"].items():
        assert counts["read"] == counts["used"] + sum(manifest(out)["rejects"].get(source, {}).values()), source


def fingerprints(out: Path) -> dict[str, str]:
    return {name: config["fingerprint"] for name, config in manifest(out)["configs"].items()}


# What is built.


def test_every_row_is_answered_as_its_task_reads_it(dataset: Path) -> None:
    rows = all_rows(dataset)
    assert len(rows) > 300
    for _, row in rows:
        task = row_task(TASKS[row["task"]], decode_answer(row))
        [prompt], [completion] = row["prompt"], row["completion"]
        value = gold(task, decode_answer(row))
        assert completion == {"role": "assistant", "content": render_completion(task, value)}
        assert parse_completion(task, completion["content"]) == value
        assert prompt["role"] == "user"
        assert row["family"] == TASKS[row["task"]].family
        assert row["licence"]
        if task.family == "retrieval":
            assert max(value) in listed_numbers(prompt["content"])


def test_all_tasks_and_families_are_built_with_rows_to_train_on_and_to_test(dataset: Path) -> None:
    assert set(manifest(dataset)["configs"]) == {*TASKS, *FAMILIES, "default"}
    assert manifest(dataset)["not_built"] == {}
    assert all(config["train"] and config["test"] for config in manifest(dataset)["configs"].values())


def test_no_group_is_in_train_and_test_of_any_two_tasks(dataset: Path) -> None:
    groups: dict[str, set[str]] = {"train": set(), "test": set()}
    for split, row in all_rows(dataset):
        groups[split].add(row["group"])
        assert is_test(row["group"], 0) == (split == "test")
    assert groups["train"]
    assert groups["test"]
    assert not groups["train"] & groups["test"]


def test_every_test_row_has_an_unseen_wording_that_no_train_row_has_in_numbers_or_in_words(dataset: Path) -> None:
    held_out = {}
    for name, task in TASKS.items():
        texts = filter(None, (task.unseen, task.words.unseen if task.words else ""))
        # What a template says before its first field is enough to know it by.
        held_out[name] = tuple(text.partition("{")[0] for text in texts)
        trained = (*task.templates, *(task.words.templates if task.words else ()))
        assert not [text for text in trained if text.startswith(held_out[name])]
    for split, row in all_rows(dataset):
        assert not row["prompt"][0]["content"].startswith(held_out[row["task"]])
        assert bool(row["unseen"]) == (split == "test")
        if split == "test":
            [turn] = row["unseen"]
            assert turn["content"].startswith(held_out[row["task"]])
            own, unseen = (read_fields(TASKS[row["task"]], prompt["content"]) for prompt in (row["prompt"][0], turn))
            assert {name: own[name] for name in unseen} == unseen
    assert {row["wording"] for _, row in all_rows(dataset)} == {1, 2}


def test_no_prompt_is_there_twice_in_a_task(dataset: Path) -> None:
    asked = [(row["task"], row["prompt"][0]["content"]) for _, row in all_rows(dataset)]
    assert len(set(asked)) == len(asked)
    assert len({row["sample_id"] for _, row in all_rows(dataset)}) == len(asked)


def test_the_dataset_names_no_one_and_no_place_of_this_machine(dataset: Path, corpora: Path) -> None:
    content = b"".join(path.read_bytes() for path in dataset.rglob("*") if path.is_file()) + repr(all_rows(dataset)).encode()
    for secret in (*raw.REVIEWER.values(), raw.USER, str(corpora), str(Path.cwd())):
        assert secret.encode() not in content


def test_the_folder_holds_what_it_should_and_nothing_else(dataset: Path) -> None:
    assert sorted(path.name for path in dataset.iterdir()) == [
        "README.md",
        "checksums.txt",
        "data",
        "images",
        "manifest.json",
        "rejects",
    ]
    assert [path.name for path in dataset.parent.iterdir()] == ["dataset"]
    built = {name for name in manifest(dataset)["configs"] if name in TASKS}
    assert {path.name for path in (dataset / "data").iterdir()} == built


def test_every_record_of_clean_corpora_is_accounted_for(dataset: Path) -> None:
    assert set(manifest(dataset)["sources"]) == {"amazon_reviews_2018", "esci", "merrec", "amazonqa", "ecinstruct"}
    balanced(dataset)


def test_load_dataset_loads_each_config_as_the_manifest_counts_it(dataset: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    for name, counts in manifest(dataset)["configs"].items():
        loaded = load_dataset(str(dataset), name, cache_dir=str(tmp_path))
        assert {split: len(rows) for split, rows in loaded.items()} == {"train": counts["train"], "test": counts["test"]}
        assert loaded["train"][0]["prompt"][0]["role"] == "user"
        if name in FAMILIES:
            assert set(loaded["train"]["family"]) == {name}
    default = load_dataset(str(dataset), split="train", cache_dir=str(tmp_path))
    assert len(default) == manifest(dataset)["configs"]["default"]["train"]


# Accounting on messy input.


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All corpora with damage of every kind in them."""
    draw, files = random.Random(3), raw.corpora()
    for name, rows in files.items():
        for row in draw.sample(rows, max(1, len(rows) // 6)):
            key = draw.choice(sorted(row))
            row[key] = (
                None
                if name.endswith(".parquet")
                else draw.choice([None, ""])
                if name.endswith(".csv")
                else draw.choice([None, "", 5, ["x"], "\ud83d"])
            )
        rows.extend(dict(row) for row in draw.sample(rows, 3))
    folder = raw.write(tmp_path_factory.mktemp("messy"), files)
    with (folder / "amazonqa" / "train-qar.jsonl").open("ab") as file:
        file.write(b"not json\n[1]\n\xff\n" + b"\x00" * 10)
    with (folder / "merrec" / "20230501" / "part-1.csv").open("ab") as file:
        file.write(b'1,2,3\n"never ends\n1,2\n')
    meta = folder / "amazon" / "meta_Kitchen_Gadgets.json.gz"
    meta.write_bytes(meta.read_bytes()[:-40])
    (folder / "meta_Empty.json").write_bytes(b"")
    (folder / "test-qar.jsonl.gz").write_bytes(b"\x1f\x8b" + b"no gzip" * 20)
    (folder / "shopping_queries_dataset_examples.parquet").write_bytes(b"PAR1")
    (folder / "notes.pdf").write_bytes(b"%PDF")
    return folder


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dataset_builders.build", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def messy_build(tmp_path_factory: pytest.TempPathFactory, messy: Path) -> tuple[Path, str]:
    """The dataset of them, built by a process of its own, and what that printed."""
    out = tmp_path_factory.mktemp("messy_built") / "dataset"
    done = process("--raw", messy, "--out", out, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.fixture(scope="module")
def messy_dataset(messy_build: tuple[Path, str]) -> Path:
    return messy_build[0]


def test_every_record_of_messy_corpora_is_accounted_for(messy_dataset: Path) -> None:
    balanced(messy_dataset)
    reasons = {reason for found in manifest(messy_dataset)["rejects"].values() for reason in found}
    assert {
        "line is not JSON",
        "line is not UTF-8",
        "line is not a JSON object",
        "row has another number of fields than the header",
        "row has a quote that is not closed",
        "compressed file is cut short: the rest is lost",
        "compressed file is damaged: the rest is lost",
        "file is not readable as Parquet",
        "file is empty",
    } <= reasons
    assert manifest(messy_dataset)["unclaimed_files"] == ["notes.pdf"]


def test_the_card_and_the_places_tell_what_was_rejected(messy_dataset: Path) -> None:
    card = (messy_dataset / "README.md").read_text()
    places = json.loads((messy_dataset / "rejects" / "places.json").read_text())
    for source, found in manifest(messy_dataset)["rejects"].items():
        for reason, count in found.items():
            assert f"| {source} | {reason} | {count:,} |" in card
    assert {"source": "amazonqa", "reason": "line is not a JSON object", "places": ["amazonqa/train-qar.jsonl:45"]} in places


# The same rows from the same records.


@pytest.fixture(scope="module")
def compared_builds(tmp_path_factory: pytest.TempPathFactory, run_build: Build) -> dict[str, str]:
    """Fingerprints of a build with which others are compared, so small that draws decide which rows are made."""
    folder = raw.write(tmp_path_factory.mktemp("small"), raw.corpora())
    assert run_build("--raw", folder, "--out", folder / "out", "--size", "0.002") == 0
    return fingerprints(folder / "out")


def rebuilt(run_build: Build, folder: Path, *arguments: object) -> dict[str, str]:
    assert run_build("--raw", folder, "--out", folder / "out", "--size", "0.002", *arguments) == 0
    return fingerprints(folder / "out")


def test_the_order_and_names_of_files_and_the_order_of_their_lines_change_no_row(
    compared_builds: dict[str, str], tmp_path: Path, run_build: Build
) -> None:
    order = random.Random(9)
    renamed = {
        "esci/joined.csv": "another/a.csv",
        "merrec/20230501/part-1.csv": "0.csv",
        "amazonqa/train-qar.jsonl": "zz/val-qar.jsonl",
        "ecinstruct/ECInstruct.json": "aa/ecinstruct/data.json",
    }
    files = {renamed.get(name, name): order.sample(rows, len(rows)) for name, rows in raw.corpora().items()}
    assert rebuilt(run_build, raw.write(tmp_path, files), "--threads", "1") == compared_builds


def test_threads_change_no_row(compared_builds: dict[str, str], tmp_path: Path, run_build: Build) -> None:
    assert rebuilt(run_build, raw.write(tmp_path, raw.corpora()), "--threads", "2") == compared_builds


def test_the_number_of_processes_changes_no_byte(
    compared_builds: dict[str, str],
    dataset: Path,
    tmp_path: Path,
    corpora: Path,
    run_build: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (assembly, rendering):
        monkeypatch.setattr(module, "CHUNK", 7)
    monkeypatch.setattr(spans, "SPAN_BYTES", 5000)
    assert run_build("--raw", corpora, "--out", tmp_path / "out", "--workers", 3) == 0
    for name in ("manifest.json", "checksums.txt", "README.md", "rejects/places.json"):
        assert (tmp_path / "out" / name).read_bytes() == (dataset / name).read_bytes()


def test_another_seed_makes_other_rows(compared_builds: dict[str, str], tmp_path: Path, run_build: Build) -> None:
    again = rebuilt(run_build, raw.write(tmp_path, raw.corpora()), "--seed", "1")
    assert set(again) == set(compared_builds)
    assert all(again[name] != compared_builds[name] for name in compared_builds)


def test_one_changed_record_changes_the_fingerprint(compared_builds: dict[str, str], tmp_path: Path, run_build: Build) -> None:
    files = raw.corpora()
    for row in files["amazonqa/train-qar.jsonl"]:
        row["answers"][0]["answerText"] += " Really."
    again = rebuilt(run_build, raw.write(tmp_path, files))
    assert {name for name in compared_builds if again[name] != compared_builds[name]} == {
        "answer_generation",
        "generation",
        "default",
    }


# Options.


def test_size_tasks_and_title_are_kept_to(tmp_path: Path, corpora: Path, run_build: Build) -> None:
    out = tmp_path / "out"
    arguments = ("--size", "0.001", "--tasks", " review_rating, also_buy ", "--title", "Mugs: a 'set'")
    assert run_build("--raw", corpora, "--out", out, *arguments) == 0
    configs = manifest(out)["configs"]
    assert set(configs) == {"review_rating", "also_buy", "multiple_choice", "retrieval", "default"}
    assert (configs["review_rating"]["train"], configs["also_buy"]["train"]) == (9, 9)
    assert (configs["review_rating"]["test"], configs["also_buy"]["test"]) == (1, 1)
    assert (out / "README.md").read_text().startswith("---\npretty_name: 'Mugs: a ''set'''\n")
    balanced(out)


def test_commercial_and_locales_choose_what_is_read(tmp_path: Path, run_build: Build) -> None:
    files = raw.corpora()
    for row in files["esci/joined.csv"]:
        row["product_locale"] = "es"
    folder = raw.write(tmp_path / "raw", files)
    arguments = ("--licences", "commercial", "--locales", "es", "--tasks", "query_product_ranking", "--word-rows", "0")
    assert run_build("--raw", folder, "--out", tmp_path / "out", *arguments) == 0
    assert set(manifest(tmp_path / "out")["sources"]) == {"esci", "ecinstruct"}
    assert {row["licence"] for _, row in all_rows(tmp_path / "out")} == {"Apache-2.0"}
    assert len(all_rows(tmp_path / "out")) == 8
    assert manifest(tmp_path / "out")["rejects"]["esci"]["locale was not asked for"] > 0
    assert "- es\n" in (tmp_path / "out" / "README.md").read_text()


def test_a_dataset_without_rows_to_test_loads(tmp_path: Path, run_build: Build) -> None:
    from datasets import load_dataset

    name, rows = next(iter(raw.amazonqa().items()))
    trained_on = [row for row in rows if row["is_answerable"] and not is_test(f"product:{row['asin']}", 0)]
    folder = raw.write(tmp_path / "raw", {name: trained_on})
    assert run_build("--raw", folder, "--out", tmp_path / "out", "--tasks", "answer_generation") == 0
    assert manifest(tmp_path / "out")["configs"]["default"]["test"] == 0
    for config in ("answer_generation", "generation", "default"):
        loaded = load_dataset(str(tmp_path / "out"), config, cache_dir=str(tmp_path / "cache"))
        assert {split: len(rows) for split, rows in loaded.items()} == {"train": len(trained_on)}


def test_judgments_of_one_corpus_take_no_titles_of_another(
    tmp_path: Path, run_build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a row under ESCI's licence would hold text of Amazon's metadata, of which no licence is known."""
    files = raw.esci()
    listed = raw.esci_judgments(6, first=20)
    meta = raw.amazon_reviews("Home", len(listed))["amazon/meta_Home.json.gz"]
    products = [{**product, "asin": row["product_id"]} for product, row in zip(meta, listed, strict=True)]
    folder = raw.write(tmp_path / "raw", {"judgments.json": files["esci/judgments.json"], "meta_Home.json.gz": products})
    assert run_build("--raw", folder, "--out", tmp_path / "out", "--tasks", "query_product_ranking") == 2
    assert "no record passed its filters" in capsys.readouterr().err


def test_a_shops_own_tables_make_the_same_rows_from_csv_and_parquet(tmp_path: Path, run_build: Build) -> None:
    found = []
    for ending in ("csv", "parquet"):
        folder, out = raw.write_tables(tmp_path / ending, raw.own_shop(), ending), tmp_path / f"out_{ending}"
        assert run_build("--tables", folder, "--out", out, "--tasks", FOUR) == 0
        balanced(out)
        found.append(fingerprints(out))
    assert found[0] == found[1]
    assert {row["source"] for _, row in all_rows(out)} == {"own"}
    assert len(all_rows(out)) > 80


def test_a_shop_with_one_table_gets_the_tasks_that_it_supports(tmp_path: Path, run_build: Build) -> None:
    folder = raw.write_tables(tmp_path / "shop", {"reviews": raw.own_shop()["reviews"]}, "csv")
    assert run_build("--tables", folder, "--out", tmp_path / "out") == 0
    assert {name for name in manifest(tmp_path / "out")["configs"] if name in TASKS} == {"review_rating"}
    assert manifest(tmp_path / "out")["not_built"]["also_buy"] == "needs the tables co_purchases, products"


def test_a_second_build_replaces_the_first(tmp_path: Path, corpora: Path, run_build: Build) -> None:
    out = tmp_path / "out"
    for task in ("review_rating", "answer_generation"):
        assert run_build("--raw", corpora, "--out", out, "--tasks", task) == 0
    assert [path.name for path in (out / "data").iterdir()] == ["answer_generation"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("text", ["nonsense", "", ",", "also_buy,nonsense", "Also_Buy"])
def test_unknown_tasks_are_refused_and_the_known_ones_named(text: str) -> None:
    with pytest.raises(UserError, match="The tasks are review_rating, "):
        parse_tasks(text)


# Bad input: exit code 2, one sentence, nothing left.


def only_rejects(folder: Path) -> list[object]:
    raw.write(folder / "in", {"x-qar.jsonl": [{"asin": None}] * 3})
    return ["--raw", folder / "in"]


def good(folder: Path) -> list[object]:
    return ["--raw", raw.write(folder / "in", raw.amazonqa(10))]


def prepared(folder: Path, out: str | None = None, files: raw.Corpora | None = None, option: str = "--raw") -> list[object]:
    if out is not None:
        (folder / "out").mkdir()
        (folder / "out" / out).write_text("mine")
    (folder / "in").mkdir()
    raw.write(folder / "in", files or {})
    return [option, folder / "in"]


BAD: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "missing folder": (lambda folder: ["--raw", folder / "nowhere"], "nowhere is not a folder"),
    "missing tables": (lambda folder: ["--tables", folder / "nowhere"], "nowhere is not a folder"),
    "empty folder": (lambda folder: prepared(folder), "holds no file of a known corpus"),
    "no known file": (lambda folder: prepared(folder, files={"x.csv": [{"a": 1}]}), "holds no file of a known corpus"),
    "no table": (lambda folder: prepared(folder, files={"x.csv": [{"a": 1}]}, option="--tables"), "holds no canonical table"),
    "missing column": (
        lambda folder: prepared(folder, files={"products.csv": [{"product_id": 1}]}, option="--tables"),
        "lacks the column title of table products",
    ),
    "damaged table": (
        lambda folder: [*prepared(folder, option="--tables"), (folder / "in" / "products.parquet").write_bytes(b"PAR1")][:2],
        "cannot be read as Parquet; it may be cut short",
    ),
    "unknown task": (lambda folder: [*good(folder), "--tasks", "nonsense"], "--tasks knows no nonsense"),
    "bad size": (lambda folder: [*good(folder), "--size", "big"], "--size big is not a size"),
    "task without its tables": (
        lambda folder: [*good(folder), "--tasks", "also_buy"],
        "also_buy: needs the tables co_purchases, products",
    ),
    "other things": (lambda folder: [*prepared(folder, "thesis.tex", raw.amazonqa(5))], "out exists and holds something else"),
    "noncommercial": (lambda folder: [*good(folder), "--licences", "commercial"], "does not allow commercial use: amazonqa"),
}


def refuses(run_build: Build, capsys: pytest.CaptureFixture[str], arguments: list[object], out: Path, sentence: str) -> None:
    assert run_build(*arguments, "--out", out) == 2
    said = capsys.readouterr().err.strip().split("\n")
    errors = [line for line in said if line.startswith("error: ")]
    assert len(errors) == 1
    assert said[-1] == errors[0]
    assert sentence in errors[0]
    assert "Traceback" not in "".join(said)


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_in_a_sentence_and_leaves_nothing(
    name: str, tmp_path: Path, run_build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    make, sentence = BAD[name]
    arguments = make(tmp_path)
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    refuses(run_build, capsys, arguments, tmp_path / "out", sentence)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_an_out_that_is_or_lies_below_a_file_is_told(
    out: str, tmp_path: Path, run_build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    refuses(run_build, capsys, good(tmp_path), tmp_path / out, str(tmp_path / out))
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "in"]


def test_input_whose_records_are_all_rejected_is_told(
    tmp_path: Path, run_build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    refuses(run_build, capsys, only_rejects(tmp_path), tmp_path / "out", "yields no row of any task")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    "option", [("--memory-limit", "lots"), ("--memory-limit", ""), ("--threads", "-1"), ("--threads", "0")]
)
def test_an_option_that_the_engine_refuses_is_told(
    option: tuple[str, str], tmp_path: Path, run_build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    refuses(run_build, capsys, [*good(tmp_path), *option], tmp_path / "out", option[0])
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("target", ["--out", "--explain"])
def test_an_engine_that_runs_out_of_memory_is_told(
    target: str, tmp_path: Path, run_build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*good(tmp_path), "--memory-limit", "1MB", target]
    assert run_build(*arguments, *([tmp_path / "out"] if target == "--out" else [])) == 2
    said = capsys.readouterr().err
    assert "error: The engine ran out of memory at --memory-limit 1MB. Give a larger --memory-limit" in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_brackets_in_names_are_printed_as_they_are(
    tmp_path: Path, run_build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = raw.write(tmp_path / "raw", raw.amazonqa(6))
    (folder / "notes[bold].pdf").write_text("x")
    assert run_build("--raw", folder, "--out", tmp_path / "out[bold]", "--tasks", "answer_generation") == 0
    printed = capsys.readouterr().out.replace("\n", "")
    assert "notes[bold].pdf" in printed
    assert "out[bold]" in printed


def test_a_stray_file_whose_name_is_not_utf8_stops_no_build(tmp_path: Path, run_build: Build) -> None:
    folder = raw.write(tmp_path / "raw", raw.amazonqa(6))
    Path(os.fsdecode(bytes(folder) + b"/\xdcbersicht.pdf")).write_text("x")
    assert run_build("--raw", folder, "--out", tmp_path / "out", "--tasks", "answer_generation") == 0


def test_a_corpus_file_whose_name_is_not_utf8_is_read(tmp_path: Path, run_build: Build) -> None:
    folder = raw.write(tmp_path / "raw", raw.amazonqa(6))
    path = Path(os.fsdecode(bytes(folder) + b"/\xdcbung-qar.jsonl"))
    path.write_text("not JSON\n")
    assert run_build("--raw", folder, "--out", tmp_path / "out", "--tasks", "answer_generation") == 0
    assert manifest(tmp_path / "out")["rejects"]["amazonqa"]["line is not JSON"] == 1


def test_locales_may_be_listed_with_spaces(tmp_path: Path, run_build: Build) -> None:
    folder = raw.write(tmp_path / "raw", raw.esci())
    assert run_build("--raw", folder, "--out", tmp_path / "out", "--locales", "es, us", "--tasks", "query_product_ranking") == 0
    assert manifest(tmp_path / "out")["locales"] == ["es", "us"]


# As a process.


def test_the_command_prints_what_it_made_and_left(messy_build: tuple[Path, str]) -> None:
    out, printed = messy_build
    for text in ("fingerprint", "review_rating", "line is not JSON", "notes.pdf", str(out)):
        assert text in printed


def test_another_process_makes_the_same_rows(compared_builds: dict[str, str], corpora: Path, tmp_path: Path) -> None:
    done = process("--raw", corpora, "--out", tmp_path / "out", "--size", "0.002", env={**os.environ, "PYTHONHASHSEED": "7"})
    assert done.returncode == 0, done.stderr
    assert fingerprints(tmp_path / "out") == compared_builds


def test_the_command_tells_a_mistake_in_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = process("--raw", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path / 'nowhere'} is not a folder. Give the folder that holds the input.\n"


def test_an_encoding_is_for_own_tables(tmp_path: Path, corpora: Path) -> None:
    done = process("--raw", corpora, "--out", tmp_path / "out", "--encoding", "latin1")
    assert (done.returncode, done.stderr) == (
        2,
        "error: --encoding is for a shop's own tables: give --tables in place of --raw.\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_help_and_the_module_load_no_heavy_library() -> None:
    heavy = ("ibis", "pyarrow", "torch", "pandas", "duckdb", "datasets", "rich", "jinja2", "numpy", "transformers")
    code = f"import sys, dataset_builders.build; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    shown = process("--help")
    assert shown.returncode == 0
    assert all(option in shown.stdout for option in ("--raw", "--tables", "--out", "--seed", "--tasks", "--size", "--locales"))


def test_a_build_that_is_interrupted_leaves_nothing(tmp_path: Path, corpora: Path) -> None:
    command = [sys.executable, "-m", "dataset_builders.build", "--raw", str(corpora), "--out", str(tmp_path / "out")]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / ".out.new" / "staged").exists() and running.poll() is None:
        time.sleep(0.001)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate()
    assert running.returncode == 130
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_built_again_in_the_same_place_loads_its_new_rows(
    tmp_path: Path, corpora: Path, run_build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` caches what it loads; its key must change with the rows."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = []
    for seed in (0, 1):
        assert run_build("--raw", corpora, "--out", tmp_path / "out", "--tasks", "review_rating", "--seed", seed) == 0
        rows = datasets.load_dataset(str(tmp_path / "out"), "review_rating", split="train", cache_dir=str(tmp_path / "cache"))
        found.append(rows["sample_id"][:])
    assert found[0] != found[1]


def test_explain_says_what_each_task_needs_and_writes_nothing(
    tmp_path: Path, run_build: Build, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    monkeypatch.setattr(Console, "_environ", {"COLUMNS": "200"})  # a library may have bound another environment than this one
    folder = raw.write_tables(tmp_path / "shop", {"reviews": raw.own_shop()["reviews"]}, "csv")
    before = sorted(tmp_path.rglob("*"))
    assert run_build("--tables", folder, "--explain") == 0
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if len(line.split()) > 4}
    assert "needs the tables co_purchases, products" in lines["also_buy"]
    assert "needs" not in lines["review_rating"]
    assert any(word.isdecimal() and int(word) > 0 for word in lines["review_rating"].split())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_build_says_where_the_corpora_fall_short_and_what_evaluation_sets_took(
    tmp_path: Path, corpora: Path, run_build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_build("--raw", corpora, "--out", tmp_path / "first", "--tasks", "review_rating", "--size", "unlimited") == 0
    made = manifest(tmp_path / "first")["configs"]["review_rating"]
    assert "--size asks for" not in capsys.readouterr().out
    [train] = (tmp_path / "first" / "data" / "review_rating").glob("train-*")
    import pyarrow.parquet as pq

    asked = pq.read_table(train).to_pylist()[0]["prompt"][0]["content"]
    (tmp_path / "sets").mkdir()
    lines = [json.dumps({"input_field": asked, "output_field": "4"}), "not JSON"]
    (tmp_path / "sets" / "bench.jsonl").write_text("\n".join(lines), encoding="utf-8")
    options = ("--tasks", "review_rating", "--evaluation-sets", tmp_path / "sets")
    assert run_build("--raw", corpora, "--out", tmp_path / "second", *options) == 0
    told, found = " ".join(capsys.readouterr().out.split()), manifest(tmp_path / "second")
    task = TASKS["review_rating"]
    assert sum(hit["rows"] for hit in found["decontamination"] if hit["set"] == "bench") == 1
    assert found["configs"]["review_rating"]["train"] == made["train"] - 1
    missing = {"train": task.train_size - made["train"] + 1, "test": task.test_size - made["test"]}
    assert found["short"] == {"review_rating": missing}
    assert f"review_rating {missing['train']:,} and {missing['test']:,}" in told
    assert "1 records of the evaluation set bench are not sound" in told
    assert "bench" in told
