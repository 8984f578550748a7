"""Labels of a small dataset checked, and queries written, by SmolLM2 behind vLLM's own server."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import raw
from tests.dataset_builders.test_annotate import files, manifest, rows_of
from tests.dataset_builders.test_annotate import run as annotate
from tests.dataset_builders.test_session_queries import run as write_queries
from tests.vllm_server import needs_vllm

pytestmark = needs_vllm


def test_labels_are_checked_and_a_second_run_says_the_same(served: str, dataset: Path, tmp_path: Path) -> None:
    requests = ("review_rating", "also_buy")
    options = ("--data", dataset, "--tasks", ",".join(requests), "--max-rows", 6, "--model", "smollm2", "--timeout", 300)
    options = (*options, "--answers", tmp_path / "answers", "--keep", "all")
    assert annotate(*options, "--endpoint", served, "--out", tmp_path / "checked") == 0
    [annotation] = manifest(tmp_path / "checked")["annotations"]
    for task in requests:
        rows = rows_of(tmp_path / "checked", task)
        votes = [json.loads(row["label_votes"])["smollm2"] for row in rows]
        assert len(rows) == annotation["tasks"][task]["models"]["smollm2"]["answers"] == 6
        agreed = sum(row["label_agreement"] for row in rows)
        assert agreed == annotation["tasks"][task]["models"]["smollm2"]["agreed"]
        assert all(len(vote) == 1 for vote in votes)
    assert any(vote != [None] for vote in votes)
    assert annotate(*options, "--out", tmp_path / "again") == 0  # without an endpoint
    assert files(tmp_path / "again") == files(tmp_path / "checked")


def test_queries_are_written_of_the_form_that_was_asked_for(
    served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions = raw.write(tmp_path / "raw", {name: rows[:24] for name, rows in raw.merrec().items() if "part-0" in name})
    options = ("--raw", sessions, "--model", "smollm2", "--endpoint", served, "--timeout", 300, "--max-tokens", 120)
    done = write_queries(*options, "--out", tmp_path / "queries")
    requests, *_, written = told(capsys.readouterr().out)
    assert done == (0 if written else 2)  # so small a model may write none that can be used
    assert requests >= written
    if done == 0:
        texts = [row["text"] for row in pq.read_table(tmp_path / "queries" / "session_queries.parquet").to_pylist()]
        assert texts
        assert all(text == " ".join(text.lower().split()) for text in texts)
    assert write_queries(*options, "--out", tmp_path / "queries", "--dry-run") == 0
    assert "│        0 │" in capsys.readouterr().out


def told(output: str) -> list[int]:
    """Numbers of the table at the end: asked, asked again, written."""
    return [int(number) for number in re.findall(r"│ (?:asked|asked again|written) +│ +(\d+) │", output)]
