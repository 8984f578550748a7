"""The benchmarks of predictions: each row is accounted for although the process is killed, speeds are told side by side."""

import json
from pathlib import Path

from tests.benchmarks.conftest import Benchmark


def test_rows_are_all_there_although_the_process_is_killed(benchmark: Benchmark) -> None:
    done = benchmark("predict_rows", "--rows", 10_000, "--kills", 1, "--failures", 0.02)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["rows"] == 10_000
    assert figures["answered"] + sum(figures["reasons"].values()) == 10_000
    assert figures["reasons"]
    assert figures["killed"] == 1
    assert 0 <= figures["answered_in_vain"] < 10_000
    assert 0 < figures["peak_mb"] < 500
    assert figures["ratio"] > 0


def test_predictions_are_the_evaluations_at_their_speed(benchmark: Benchmark, tiny_llama: Path, tmp_path: Path) -> None:
    rows = [{"category": "Kitchen", "review": f"Cup number {number} is fine."} for number in range(12)]
    source = tmp_path / "reviews.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = benchmark("predict_speed", "--task", "review_rating", "--input", source, "--model", tiny_llama, "--rounds", 1)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["rows"], figures["same_answers"]) == (12, 1)
    assert figures["ratio"] > 0


def test_a_ranking_is_measured_beside_a_full_pass_a_product(benchmark: Benchmark, tiny_llama: Path, tmp_path: Path) -> None:
    source = tmp_path / "lists.jsonl"
    source.write_text(json.dumps({"query": "cup", "products": [f"cup of {number} ml" for number in range(20)]}) + "\n")
    done = benchmark("rank_speed", "--input", source, "--model", tiny_llama, "--products", 15)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["products"] == 15
    assert 0 <= figures["same_first_ten"] <= 10
    assert figures["ratio"] > 0
