"""The benchmark of the build, at the smallest scale: both ways see the same, and each part ends with its JSON."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import pandas_way
from benchmarks.against_pandas import agreement, write_judged
from benchmarks.build import parse_scales
from benchmarks.build_steps import draw_task, stage_tables
from benchmarks.measure import alone, command
from common.errors import UserError
from tests.benchmarks.conftest import Benchmark
from tests.command import run_command

MEMORY = "500MB"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged")
    write_judged(folder, scale=0.002, seed=0)
    return folder


@pytest.fixture(scope="module")
def staged(raw: Path) -> Path:
    stage_tables(raw, raw.parent / "staged", "esci")
    return raw.parent / "staged"


def test_both_ways_see_the_same_pairs_and_queries(staged: Path) -> None:
    compared = agreement(staged, 0, MEMORY)
    assert compared["query pairs"] > 100
    assert compared["usable queries"] > 10


def test_a_query_with_four_products_is_usable_to_neither_way(staged: Path, tmp_path: Path) -> None:
    judgments, usable = pd.read_parquet(staged / "judgments.parquet"), pandas_way.rankable(staged, 0)
    query = usable["query"].iloc[0]
    four = usable[usable["query"] == query].drop_duplicates("label")["product_id"]
    kept = judgments[(judgments["query"].str.lower() != query) | judgments["product_id"].isin(four)]
    kept.to_parquet(tmp_path / "judgments.parquet")
    shutil.copytree(staged / "products.parquet", tmp_path / "products.parquet")
    assert agreement(tmp_path, 0, MEMORY)["usable queries"] == usable["query"].nunique() - 1


@pytest.mark.parametrize("table", ["judgments", "products"])
def test_ways_that_see_different_records_are_an_error(staged: Path, tmp_path: Path, table: str) -> None:
    judgments, products = (pd.read_parquet(staged / f"{name}.parquet") for name in ("judgments", "products"))
    if table == "judgments":
        # Twins of unlike labels: the build keeps the one whose contents come first, pandas the first.
        labels = judgments["label"].map(lambda label: "irrelevant" if label == "exact" else "exact")
        twins = judgments.assign(record=judgments["record"] + 2**20, label=labels)
        judgments = pd.concat([judgments, twins])
    else:
        products = products.assign(title="same title")
        products.loc[products.index % 2 == 0, "title"] = [f"title {number}" for number in range((len(products) + 1) // 2)]
    judgments.to_parquet(tmp_path / "judgments.parquet")
    products.to_parquet(tmp_path / "products.parquet")
    with pytest.raises(UserError, match="The two ways see different"):
        agreement(tmp_path, 0, MEMORY)


def test_a_pair_comes_once_and_has_an_exact_query(staged: Path) -> None:
    pairs = pandas_way.query_pairs(staged)
    assert len({frozenset(pair) for pair in zip(pairs["query"], pairs["other_query"], strict=True)}) == len(pairs)
    assert (pairs["query"] != pairs["other_query"]).all()
    labels = pandas_way.read_judgments(staged)
    exact = set(labels.loc[labels["label"] == "exact", "query"])
    assert set(pairs["query"]) <= exact


def test_pandas_draws_as_many_rows_of_each_relation_as_there_are(staged: Path) -> None:
    rows = pandas_way.query_relation(staged, 40, 0)
    relations = rows.apply(lambda row: row["options"][row["answer"]], axis=1)
    assert len(rows) == 40
    assert relations.value_counts().to_dict() == dict.fromkeys(("narrowing", "substitute", "complement", "irrelevant"), 10)


def test_pandas_ranks_one_product_of_each_label_and_a_fifth(staged: Path) -> None:
    rows = pandas_way.query_product_ranking(staged, 8, 0)
    assert len(rows) == 8
    assert all(len(products) == len({title.lower() for title in products}) == 5 for products in rows["products"])
    assert all(len(gains) == 5 and len(set(gains)) == 4 for gains in rows["answer"])


def test_the_build_s_way_counts_what_it_reads_and_makes(staged: Path) -> None:
    figures = draw_task(staged, "query_relation", 0, MEMORY)
    assert figures["records"] == len(pd.read_parquet(staged / "judgments.parquet"))
    assert figures["rows"] > 0


def test_memory_is_that_of_the_work_and_not_of_the_work_before() -> None:
    large, small = (alone(eval, f"len(b'x' * {megabytes} * 10**6)") for megabytes in (200, 1))
    assert large.result == 200 * 10**6
    assert 200 < large.megabytes < small.megabytes + 230
    assert small.megabytes < 150


def test_a_process_that_the_machine_ends_is_told_in_one_sentence() -> None:
    with pytest.raises(UserError, match="_exit was ended by the machine"):
        alone(os._exit, 1)


def test_a_command_that_fails_is_told_with_its_last_line() -> None:
    with pytest.raises(UserError, match=r"python -m dataset_builders\.build failed: .*no/such is not a folder"):
        command("dataset_builders.build", "--raw", "no/such", "--explain")


def test_scales_must_rise() -> None:
    assert parse_scales("0.5,1,2") == [0.5, 1, 2]
    for text in ("1", "2,1", "1,1", "0,1", "a,b", "", "nan,1", "1,inf"):
        with pytest.raises(UserError, match="Give"):
            parse_scales(text)


def test_relational_ends_with_json_of_both_ways(benchmark: Benchmark, raw: Path) -> None:
    done = benchmark("build", "relational", "--raw", raw, "--memory-limit", MEMORY)
    figures = json.loads(done.stdout.splitlines()[-1])
    ratios = [figures[name]["ratio"] for name in ("query_relation", "query_product_ranking")]
    assert figures["agree"] is True
    assert figures["ratio"] == pytest.approx((ratios[0] * ratios[1]) ** 0.5, abs=0.02)
    for name in ("query_relation", "query_product_ranking"):
        build, pandas = figures[name]["build"], figures[name]["pandas"]
        assert figures[name]["ratio"] == pytest.approx(pandas["seconds"] / build["seconds"], rel=0.1, abs=0.02)
        assert min(build["mb"], pandas["mb"]) > 50


def test_tasks_ends_with_markdown_and_json(benchmark: Benchmark, raw: Path) -> None:
    done = benchmark("build", "tasks", "--raw", raw, "--tasks", "query_relation,also_buy", "--memory-limit", MEMORY)
    lines = done.stdout.splitlines()
    assert set(json.loads(lines[-1])) == {"query_relation"}
    assert lines[-2].startswith("| query_relation | ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("relational", "--scale", "0"), "error: A scale of 0 cannot be made. Give one from"),
        (("relational", "--raw", "no/such"), "error: no/such is not a folder"),
        (("scaling", "--scales", "2,1"), "error: --scales 2,1 is not a list of rising numbers"),
        (("tasks", "--tasks", "x"), "error: --tasks knows no x"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("benchmarks.build", *arguments) == 2
    assert capsys.readouterr().err.startswith(said)


def test_whole_ends_with_the_build_s_speed_beside_a_plain_read_s(benchmark: Benchmark) -> None:
    done = benchmark("build", "whole", "--scale", "0.001", "--size", "unlimited", "--memory-limit", MEMORY, "--workers", "2")
    figures = json.loads(done.stdout.splitlines()[-1])
    build, plain = figures["build"], figures["plain read"]
    assert build["records_per_core_second"] == pytest.approx(build["records"] / build["seconds"] / 2, rel=0.02)
    assert plain["records_per_core_second"] == pytest.approx(build["records"] / plain["seconds"], rel=0.2)
    assert figures["ratio"] == pytest.approx(build["records_per_core_second"] / plain["records_per_core_second"], abs=0.01)
    assert 50 < build["main_mb"] < build["mb"]
    assert build["rows"] > 0


def test_scaling_ends_with_the_growth_from_each_scale_to_the_next(benchmark: Benchmark) -> None:
    done = benchmark("build", "scaling", "--scales", "0.0005,0.004", "--memory-limit", MEMORY)
    figures = json.loads(done.stdout.splitlines()[-1])
    small, large = figures["scales"]
    assert small["records"] < large["records"]
    assert small["rows"] < large["rows"]
    assert figures["growth"] == [figures["ratio"]]
    assert figures["ratio"] == pytest.approx(large["seconds"] / small["seconds"], abs=0.01)
    assert min(small["mb"], large["mb"]) > 50
