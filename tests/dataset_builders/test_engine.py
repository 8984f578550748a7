"""Both engines give the same rows for the same tables; an engine that cannot be had is told in a sentence."""

import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unicodedata import ucd_3_2_0

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import UserError
from dataset_builders import spans
from dataset_builders.canonical_tables import load_tables
from dataset_builders.co_purchases import co_purchases
from dataset_builders.engine import Draw, connect, deduplicate, reader, row_batches, stored_file
from dataset_builders.engine_errors import plain_engine_errors
from dataset_builders.expressions import lower, spaced, without, words
from dataset_builders.outcomes import save_unused
from dataset_builders.recipes import recipes
from dataset_builders.recipes.multiple_choice import _STARS
from dataset_builders.recipes.retrieval import subjects
from dataset_builders.record_counts import RecordCounts
from dataset_builders.staging import find_corpora, stage
from dataset_builders.tables import SESSION_QUERIES, TABLES, arrow_schema
from tests import raw
from tests.dataset_builders import recipe_tables

TEXTS = st.text(
    st.one_of(
        st.sampled_from("fvFVsSkK 5/*-\n\t\u00a0\u3000İΣςßéＡ★|'"), st.characters(codec="ascii"), st.sampled_from("日本語キー")
    )
)


@pytest.fixture(scope="module")
def duckdb(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return connect("1GB", 2, tmp_path_factory.mktemp("spill"))


@pytest.fixture(scope="module")
def java() -> None:
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17 or newer")


@pytest.fixture(scope="module")
def spark(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    connection = connect("1GB", 2, tmp_path_factory.mktemp("spark"), "pyspark")
    connection._session.conf.set("spark.sql.shuffle.partitions", "3")
    yield connection
    connection._session.stop()


@pytest.fixture
def spark_cluster(java: None, tmp_path: Path) -> Iterator[str]:
    """Address of a Spark master with one worker, processes of their own on the loopback interface."""
    import pyspark

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = Path(pyspark.__file__).parent / "bin" / "spark-class"
    deploy, address = "org.apache.spark.deploy", f"127.0.0.1:{port}"
    master = [f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"]
    worker = [f"{deploy}.worker.Worker", "--host", "127.0.0.1", "--webui-port", "0", "--memory", "1g"]
    worker += ["--work-dir", str(tmp_path / "work"), f"spark://{address}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    daemons = [subprocess.Popen([launcher, *command], **quiet) for command in (master, worker)]  # type: ignore[call-overload]
    yield address
    for daemon in daemons:
        daemon.kill()


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(TABLES[name])), folder / f"{name}.parquet")


def rows_of(connection: Any, folder: Path, task: str) -> list[dict[str, Any]]:
    tables, _ = load_tables(connection, folder)
    return recipes()[task](tables, Draw(0, task), 40).rows.order_by("key").to_pyarrow().to_pylist()


TABLES_OF = {
    "review_rating": recipe_tables.reviews,
    "query_relation": recipe_tables.judgments,
    "query_product_relation": recipe_tables.judgments,
    "query_product_ranking": recipe_tables.judgments,
    "query_generation": recipe_tables.judgments,
    "product_relation": recipe_tables.links,
    "also_buy": recipe_tables.links,
    "next_title_amazon": recipe_tables.links,
    "next_query": recipe_tables.events,
    "next_title_merrec": recipe_tables.events,
    "answerability": recipe_tables.questions,
    "answer_generation": recipe_tables.questions,
}


@pytest.mark.parametrize("task", TABLES_OF)
def test_spark_gives_the_rows_of_duckdb_for_shuffled_records(duckdb: Any, spark: Any, tmp_path: Path, task: str) -> None:
    tables = TABLES_OF[task](random.Random(7))
    shuffler = random.Random(1)
    for number, (name, rows) in enumerate(tables.items()):
        empty = {column.name: None for column in TABLES[name].columns}
        full = [{**empty, **row, "record": number * 10_000 + place} for place, row in enumerate(rows)]
        write(tmp_path / "one", name, full)
        write(tmp_path / "other", name, shuffler.sample(full, len(full)))
    expected = rows_of(duckdb, tmp_path / "one", task)
    assert expected
    assert rows_of(spark, tmp_path / "other", task) == expected


@pytest.mark.parametrize("task", ["also_buy", "next_title_amazon"])
def test_lists_made_in_parts_are_those_made_at_once(
    duckdb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    for number, (name, rows) in enumerate(recipe_tables.links(random.Random(7)).items()):
        empty = {column.name: None for column in TABLES[name].columns}
        write(tmp_path / "in", name, [{**empty, **row, "record": number * 10_000 + place} for place, row in enumerate(rows)])
    at_once = rows_of(duckdb, tmp_path / "in", task)
    monkeypatch.setattr("dataset_builders.engine.PART", 3)
    parts: list[Path] = []
    monkeypatch.setattr("dataset_builders.engine.stored_file", lambda table: parts.append(stored_file(table)) or parts[-1])
    assert rows_of(duckdb, tmp_path / "in", task) == at_once
    assert len(parts) > 4


@pytest.mark.parametrize("make", [recipe_tables.judgments, recipe_tables.links])
def test_what_recipes_share_changes_no_row(duckdb: Any, tmp_path: Path, make: Any) -> None:
    for number, (name, rows) in enumerate(make(random.Random(7)).items()):
        empty = {column.name: None for column in TABLES[name].columns}
        write(tmp_path / "in", name, [{**empty, **row, "record": number * 10_000 + place} for place, row in enumerate(rows)])
    shared, _ = load_tables(duckdb, tmp_path / "in")
    tasks = [task for task, made in TABLES_OF.items() if made is make]
    for task in tasks:
        drawn = recipes()[task](shared, Draw(0, task), 40)
        assert drawn.rows.order_by("key").to_pyarrow().to_pylist() == rows_of(duckdb, tmp_path / "in", task)
    assert shared.keys() - TABLES.keys(), "nothing was shared"


def test_spark_derives_the_links_of_duckdb_for_shuffled_baskets(duckdb: Any, spark: Any, tmp_path: Path) -> None:
    """More than fifty products in some baskets, several rows of a product in others."""
    rng = random.Random(11)
    rows = [
        {
            "basket": min(int(rng.paretovariate(0.6)), 80),
            "product_id": f"p{int(rng.paretovariate(0.8)) % 200}",
            "record": number,
        }
        for number in range(1500)
    ]
    found = []
    for connection, order in ((duckdb, rows), (spark, rng.sample(rows, len(rows)))):
        path = tmp_path / f"{connection.name}.parquet"
        pq.write_table(pa.Table.from_pylist([{**row, "source": "shop"} for row in order]), path)
        links = co_purchases(connection.read_parquet(path))
        found.append(links.order_by(["product_id", "other_product_id"]).to_pyarrow().to_pylist())
    assert len(found[0]) > 500
    assert found[0] == found[1]


def test_spark_takes_written_queries_as_duckdb_does(duckdb: Any, spark: Any, tmp_path: Path) -> None:
    rng = random.Random(9)
    events = recipe_tables.events(rng)["events"]
    empty = {column.name: None for column in TABLES["events"].columns}
    write(tmp_path, "events", [{**empty, **row, "record": place} for place, row in enumerate(events)])
    pq.write_table(pa.Table.from_pylist(recipe_tables.written(rng, events)), tmp_path / f"{SESSION_QUERIES}.parquet")
    expected = rows_of(duckdb, tmp_path, "next_query")
    assert {row["queries_by"] for row in expected} == {"model", "rule"}
    assert rows_of(spark, tmp_path, "next_query") == expected
    asked = []
    for connection in (duckdb, spark):
        tables, _ = load_tables(connection, tmp_path)
        asked.append(subjects(tables, Draw(0, "next_query"), 40).order_by("key").to_pyarrow().to_pylist())
    assert len(asked[0]) > 10
    assert asked[0] == asked[1]


def test_executors_stage_what_this_process_does(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = raw.write(tmp_path / "raw", raw.corpora())
    monkeypatch.setattr(spans, "SPAN_BYTES", 20_000)
    files, _ = find_corpora(folder, commercial_only=False)
    found = []
    for name, run in (("here", map), ("there", reader(spark, map))):
        (tmp_path / name).mkdir()
        counts = RecordCounts()
        stage(files, folder, tmp_path / name, frozenset({"us"}), counts, run)
        parts = sorted(path for path in (tmp_path / name).rglob("*.parquet") if path.is_file())
        found.append((counts, {path.relative_to(tmp_path / name): path.read_bytes() for path in parts}))
    assert found[0] == found[1]
    assert len(found[0][1]) > len(TABLES)


def test_what_a_task_left_is_told_anew_when_it_is_asked_for_more(duckdb: Any, spark: Any, tmp_path: Path) -> None:
    for connection in (duckdb, spark):
        pq.write_table(pa.table({"record": [1, 2], "reason": ["a", "b"]}), tmp_path / "left.parquet")
        left = connection.read_parquet(tmp_path / "left.parquet")
        save_unused(connection, [left, left], tmp_path / connection.name, "task: ")
        [kept] = save_unused(connection, [left.filter(left.record == 2)], tmp_path / connection.name, "task: ")
        assert kept.to_pyarrow().to_pylist() == [{"record": 2, "reason": "task: b"}]


def test_text_reads_the_same_on_both(duckdb: Any, spark: Any, tmp_path: Path) -> None:
    drawn: list[str] = ["", "five stars", "é5/5", "4 1/2 stars!", "Vitamin f  v", "ΟΔΟΣ", "İstanbul", "⭐️⭐️ 5 of 5 stars"]

    @settings(max_examples=400, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(TEXTS)
    def collect(text: str) -> None:
        drawn.append(text)

    collect()
    # Of Unicode 3.2, since Java 17 does not know the letters of Unicode 14.
    drawn += [chr(code) for code in range(1, 0x2FFF) if ucd_3_2_0.category(chr(code)) not in ("Cn", "Cc")]
    pq.write_table(pa.table({"place": list(range(len(drawn))), "text": drawn}), tmp_path / "texts.parquet")
    read = []
    for connection in (duckdb, spark):
        table = connection.read_parquet(tmp_path / "texts.parquet")
        table = table.select(
            "place",
            low=lower(table.text),
            plain=spaced(table.text),
            said=without(table.text, _STARS),
            words=words(table.text).sort(),
        )
        read.append(table.order_by("place").to_pyarrow().to_pylist())
    differing = [
        (drawn[one["place"]], name, one[name], other[name])
        for one, other in zip(*read, strict=True)
        for name in one
        if one[name] != other[name]
    ]
    assert not differing


def test_the_first_of_each_key_is_the_least_in_order_and_the_others_are_told(duckdb: Any, tmp_path: Path) -> None:
    rng = random.Random(3)
    rows = [{"key": rng.choice(["a", "b", None, "c"]), "part": n % 2, "order": rng.random(), "n": n} for n in range(60)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    table = duckdb.read_parquet(tmp_path / "rows.parquet")
    once, others = (found.to_pyarrow().to_pylist() for found in deduplicate(table, ["key", "part"], lambda row: [row.order]))
    keys = {(row["key"], row["part"]) for row in rows}
    best = {key: min((row for row in rows if (row["key"], row["part"]) == key), key=lambda row: row["order"]) for key in keys}
    assert sorted(row["n"] for row in once) == sorted(row["n"] for row in best.values())
    assert sorted(row["n"] for row in (*once, *others)) == list(range(60))


@pytest.mark.parametrize(
    ("engine", "memory_limit", "threads", "sentence"),
    [
        ("sqlite", "1GB", None, "Unknown --engine sqlite; use duckdb"),
        ("pyspark://nowhere", "1GB", None, "an address such as|cluster's address such as"),
        ("duckdb", "lots", None, "--memory-limit lots is not a size"),
        ("duckdb", "", None, "of nothing is not a size"),
        ("duckdb", "1GB", 0, "--threads 0 is too few"),
    ],
)
def test_what_is_no_engine_is_told(tmp_path: Path, engine: str, memory_limit: str, threads: int | None, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        connect(memory_limit, threads, tmp_path, engine)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("temp_directory = ''", "ran out of memory at --memory-limit 16MB"),
        ("max_temp_directory_size = '1MB'", "The disk is full"),
    ],
)
def test_an_engine_that_runs_out_while_rows_are_streamed_is_told(setting: str, sentence: str, tmp_path: Path) -> None:
    connection = connect("16MB", 1, tmp_path / "spill")
    connection.con.execute(f"SET {setting}")
    pq.write_table(pa.table({"number": range(500_000)}), tmp_path / "numbers.parquet", row_group_size=10_000)
    numbers = connection.read_parquet(tmp_path / "numbers.parquet")
    rows = numbers.select(text=numbers.number.cast("string").hexdigest("md5")).order_by("text")
    with pytest.raises(UserError, match=sentence), plain_engine_errors("16MB"):
        list(row_batches(rows, 1000))


@pytest.mark.parametrize("error", [ValueError("Out of order"), OSError(28, "No space left on device")])
def test_other_errors_than_the_engines_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)), plain_engine_errors("16MB"):
        raise error


def test_without_java_spark_says_what_it_needs(tmp_path: Path) -> None:
    """In a process of its own: a session that runs already would be taken."""
    code = (
        "from pathlib import Path\n"
        "from dataset_builders.engine import connect\n"
        "from common.errors import plain_errors\n"
        f"with plain_errors(): connect('1GB', 1, Path({str(tmp_path)!r}), 'pyspark')"
    )
    environment = {"PATH": str(tmp_path), "JAVA_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    assert done.returncode == 2
    assert "needs Java 17 or newer" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cluster_builds_the_dataset_of_one_machine(spark_cluster: str, tmp_path: Path) -> None:
    """The build as a user runs it."""
    raw.write(tmp_path / "raw", raw.corpora())
    manifests = []
    for name, engine in (("here", "duckdb"), ("there", f"pyspark://{spark_cluster}")):
        command = [sys.executable, "-m", "dataset_builders.build", "--raw", tmp_path / "raw", "--out", tmp_path / name]
        options = ["--tasks", "review_rating,answerability", "--memory-limit", "600MB", "--engine", engine]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        manifests.append((tmp_path / name / "manifest.json").read_bytes())
    assert manifests[0] == manifests[1]
