"""The benchmark of label requests: both parts end with their figures, and every row of a storm is accounted for."""

import json

from tests.benchmarks.conftest import Benchmark


def test_throughput_is_told_beside_the_ideal_and_a_pool_of_threads(benchmark: Benchmark) -> None:
    done = benchmark("annotate", "throughput", "--requests", 40, "--latency", 0.02, "--concurrency", 8)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["requests"], figures["ideal_requests_per_second"]) == (40, 400)
    for way in ("ours", "threads"):
        assert 0 < figures[way]["ratio"] <= 1
        assert figures[way]["mb"] > 0
    assert figures["ratio"] == figures["ours"]["ratio"]


def test_a_storm_labels_or_rejects_every_row(benchmark: Benchmark) -> None:
    done = benchmark("annotate", "storm", "--requests", 60, "--failures", 0.5, "--concurrency", 8)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert sum(figures["rows"].values()) == 60
    assert "nothing" not in figures["rows"]
    assert figures["rows"]["labelled"] > 30
    assert figures["rows"].keys() & {"content filter", "too long"}
    assert figures["retries"] > 5
    assert figures["sent_by_a_second_run"] == 0
    assert figures["mb_by_rows_done"][-1][0] == 60
    assert figures["ratio"] > 0
