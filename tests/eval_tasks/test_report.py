"""The command: what it writes and shows, and what it says to a mistake."""

import json
from pathlib import Path

import pytest

from common.errors import plain_errors
from eval_tasks.report import FILES, main
from tests.eval_tasks.runs import BASELINE, said, write_run

BASE = {"shop:also_buy": said(0.2), "shop:next_query": said(0.4), "shop:answerability": said(0.5, unparsable=True)}
TUNED = {"shop:also_buy": said(0.6), "shop:next_query": said(0.5), "shop:answerability": said(0.4)}


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    base, tuned = write_run(tmp_path / "base", BASE), write_run(tmp_path / "tuned", TUNED)
    baseline = write_run(tmp_path / "random", {"shop:also_buy": said(0.3)}, **BASELINE)
    return ["--results", str(base), "--results", str(baseline), "--results", str(tuned)]


def test_everything_is_written_and_the_table_shown(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "out"

    main([*runs, "--out", str(out)])

    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    assert (out / "scores.png").read_bytes().startswith(b"\x89PNG")
    table = (out / "report.md").read_text()
    assert "| task | metric | base | tuned | random | difference | rows | unparsable |\n" in table
    assert "| also_buy | hit rate | 0.200 (0.20 to 0.20) | 0.600 (0.60 to 0.60) | 0.300" in table
    assert "| +0.400 (+0.40 to +0.40, p = 1.000) | 1 | 0% -> 0% |\n" in table
    assert "| **all tasks** |" in table
    shown = capsys.readouterr().out
    assert "next_query" in shown
    assert "tuned is better than base on 2 (0 beyond chance) and worse on 1" in shown


def test_programs_are_told_how_lists_were_scored(tmp_path: Path) -> None:
    forms = {"written": {}, "words": {"answers": "scored"}, "text": {"answers": "scored", "lists": "text"}}
    folders = [
        write_run(tmp_path / name, {"shop:also_buy": said(0.5)}, model_config={"model_name": name, **config})
        for name, config in forms.items()
    ]
    main([*(word for folder in folders for word in ("--results", str(folder))), "--out", str(tmp_path / "out")])
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["lists"] == {"words": "words", "text": "text"}


def test_scores_are_there_for_other_programs(runs: list[str], tmp_path: Path) -> None:
    main([*runs, "--names", "small,chance,large", "--out", str(tmp_path / "out")])

    scores = json.loads((tmp_path / "out" / "scores.json").read_text(), parse_constant=pytest.fail)
    assert scores["names"] == ["small", "large", "chance"]
    assert scores["baselines"] == ["chance"]
    assert scores["mean"] == {"small": pytest.approx(1.1 / 3), "large": pytest.approx(0.5), "chance": None}
    assert scores["families"]["multiple choice"] == {"small": 0.5, "large": 0.4, "chance": None}
    assert scores["tasks"][0] == {
        "task": "shop:answerability",
        "suite": "shop",
        "family": "multiple_choice",
        "metric": "accuracy",
        "stderr": {"small": 0.01, "large": 0.01, "chance": None},
        "rows": {"small": 1, "large": 1, "chance": None},
        "scores": {"small": 0.5, "large": 0.4, "chance": None},
        "intervals": {"small": [0.5, 0.5], "large": [0.4, 0.4], "chance": None},
        "unparsable": {"small": 1.0, "large": 0.0, "chance": None},
        "difference": pytest.approx(-0.1),
        "differences": {
            "large": {"value": pytest.approx(-0.1), "interval": pytest.approx([-0.1, -0.1]), "p_value": 1.0, "rows": 1}
        },
    }
    assert scores["means"]["all tasks"]["difference"] == pytest.approx(0.5 - 1.1 / 3)


def test_the_same_runs_give_the_same_files_to_the_byte(runs: list[str], tmp_path: Path) -> None:
    for name in ("one", "other"):
        main([*runs, "--out", str(tmp_path / name)])

    for file in FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes(), file


@pytest.mark.parametrize("count", [1, 8])
def test_one_model_and_many_are_shown_and_drawn(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    folders = [write_run(tmp_path / f"model{number}", BASE) for number in range(count)]
    arguments = [argument for folder in folders for argument in ("--results", str(folder))]

    main([*arguments, "--out", str(tmp_path / "out")])

    line = next(line for line in capsys.readouterr().out.splitlines() if "all tasks" in line)
    assert line.count("0.367") == count
    assert (tmp_path / "out" / "scores.png").stat().st_size > 10_000


def test_the_names_of_models_are_never_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "[red]$a|b$", BASE)

    main(["--results", str(folder), "--out", str(tmp_path / "out")])

    assert "[red]" in capsys.readouterr().out
    assert "[red]$a&#124;b$" in (tmp_path / "out" / "report.md").read_text()


def test_a_real_run_of_lighteval_is_reported(shop_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--results", str(shop_run), "--results", str(shop_run), "--out", str(tmp_path)])

    assert "out (2)" in capsys.readouterr().out
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert all(task["differences"]["out (2)"]["value"] == 0 for task in scores["tasks"])
    assert scores["notes"] == [
        "A mean over tasks of different metrics is one of unlike things: it orders models, and measures nothing."
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--results", "missing"], "no such file or folder"),
        (["--results", "run", "--names", "a,b"], "--names has 'a,b' for 1 models; give 1 different names"),
        (["--results", "run", "--results", "run", "--names", "a,a"], "give 2 different names"),
        (["--results", "run", "--cases", "-1"], "--examples must be 0 or more, not -1"),
        (["--results", "run", "--out", "file/out"], "cannot be made"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run", BASE)
    (tmp_path / "file").touch()

    with pytest.raises(SystemExit) as stopped, plain_errors():
        main(arguments)

    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert sentence in error
    assert error.count("\n") == 1
