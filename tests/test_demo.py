"""`make demo`, the whole way on a tiny random model: every stage reads what the one before wrote."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = (
    "dataset/manifest.json",
    "adapter/adapter_model.safetensors",
    "adapter/README.md",
    "merged/config.json",
    "space/demo/page.py",
)


@pytest.fixture
def demo() -> Callable[[Path, Path], str]:
    """Runs `make demo` into a folder with a base model, and gives what it printed."""
    if not (ROOT / ".venv" / ".ready").exists():
        pytest.skip("make demo would set up .venv first; run make setup")

    def run(out: Path, base: Path) -> str:
        options = (f"OUT={out}", f"BASE_MODEL={base}", "OFFLINE=1", "SCALE=0.004", "SIZE=20+4", "TRAIN_ARGS=--max_steps 2")
        done = subprocess.run(["make", "demo", *options], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


def test_the_demo_ends_with_one_table_and_the_places_of_what_it_made(
    demo: Callable[[Path, Path], str], tmp_path: Path, tiny_llama: Path
) -> None:
    out = tmp_path / "demo"
    said = demo(out, tiny_llama)
    assert all((out / stage).is_file() for stage in STAGES)
    scores = json.loads((out / "results" / "report" / "scores.json").read_text(encoding="utf-8"))
    assert {"base", "tuned", "base_scored", "tuned_scored", "random", "majority", "tfidf", "minilm"} == set(scores["names"])
    assert (out / "results" / "report" / "report.html").stat().st_size > 10_000
    configs = json.loads((out / "dataset" / "manifest.json").read_text(encoding="utf-8"))["configs"]
    closing = said[said.index("What came of it") :]
    for task in ("review_rating", "query_product_ranking", "also_buy", "answer_generation"):
        assert configs[task]["train"] == 20
        assert task in closing
    assert "mean over tasks" in closing
    places = ("dataset", "adapter", "merged", "results", "results/report/report.html", "space")
    assert all(str(out / name) in closing for name in places)


def test_make_help_names_each_target_in_one_line() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    named = {line.split()[1] for line in said}
    assert {"setup", "demo", "test", "test-all", "lint", "space", "clean"} <= named
