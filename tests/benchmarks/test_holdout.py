"""benchmarks/holdout.py as a command: parts of the train rows, each with the same held-out rows to test on."""

from pathlib import Path

import pytest

from benchmarks.holdout import main, task_rows, write_folder
from tests.command import run_command
from tests.eval_tasks.questions import make_row


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("holdout") / "data"
    rows = [make_row("review_rating", str(n % 5 + 1), review=f"About {n}", group=f"product:{n // 2}") for n in range(60)]
    write_folder({"review_rating": rows}, {}, folder)
    return folder


def test_parts_share_no_train_row_and_have_the_same_held_out_rows_of_other_groups(data: Path, tmp_path: Path) -> None:
    main(["--data", str(data), "--out", str(tmp_path / "out"), "--share", "0.3", "--parts", "20,12"])
    parts = [tmp_path / "out" / f"part-{number}" for number in (1, 2)]
    first, second = (task_rows(part, "train")["review_rating"] for part in parts)
    held, again = (task_rows(part, "test")["review_rating"] for part in parts)
    assert (len(first), len(second)) == (20, 12)
    assert len({row["sample_id"] for row in (*first, *second)}) == 32
    assert held == again
    assert not {row["group"] for row in (*first, *second)} & {row["group"] for row in held}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--parts", "30,50"), "part 2 would have"),
        (("--parts", "some"), "--parts must be numbers of rows such as 400,480, not some"),
        (("--parts", "5", "--share", "1"), "--share must be between 0 and 1, not 1.0"),
        (("--parts", "5", "--share", "1e-9"), "no group of"),
    ],
)
def test_a_mistake_is_one_sentence(
    data: Path, tmp_path: Path, options: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("benchmarks.holdout", "--data", data, "--out", tmp_path / "out", *options) == 2
    assert capsys.readouterr().err.startswith(f"error: {sentence}")
