"""What is said about scores."""

from dataclasses import replace

import pytest

from model_card.conclusions import conclusions, headline
from model_card.evaluations import read_comparisons
from tests.eval_tasks.runs import said, write_run
from tests.model_card.files import BASE, TUNED, write_baseline, write_results


@pytest.fixture
def sentences(tmp_path):
    """The conclusions on these scores, of a task's name -> value."""

    def told(tuned, base=None, **baselines):
        folders = [write_baseline(tmp_path / name, name, scores) for name, scores in baselines.items()]
        bases = [write_results(tmp_path / "base", base, model="base")] if base else []
        (found,) = read_comparisons([write_results(tmp_path / "tuned", tuned)], bases, folders)
        return " ".join(conclusions(found.report))

    return told


def test_a_lower_score_is_said_and_what_may_be_chance(sentences):
    text = sentences(TUNED, BASE)
    assert "higher than the base on 3 of 4 tasks." in text
    assert "**It scores lower than the base on 1:** Ranking products for a query (-0.050)." in text
    assert "Possibly by chance: Ranking products for a query (-0.050)." in text
    assert "The mean over all 4 tasks goes from 0.287 to 0.525: +0.238 (95 % interval +0.196 to +0.279)." in text


def test_a_mean_that_falls_is_said(sentences):
    text = sentences(BASE, TUNED)
    assert "**It scores lower than the base on 3:**" in text
    assert "from 0.525 to 0.287: -0.238" in text


def test_a_mean_within_its_interval_may_be_chance(sentences):
    text = sentences(TUNED, {name: score - 0.01 for name, score in TUNED.items()})
    assert "+0.010 (95 % interval -0.032 to +0.052). This may be chance." in text


def test_no_difference_is_no_gain(sentences):
    text = sentences(TUNED, TUNED)
    assert "higher than the base on 0 of 4 tasks, and the same on 4, and lower on none." in text


def test_without_a_base_nothing_is_said_of_tuning(sentences):
    assert sentences(TUNED) == "The base model was not measured, so nothing can be said about what tuning changed."


def test_a_base_without_a_task_in_common_is_not_compared(sentences):
    text = sentences({"also_buy": 0.5}, {"review_rating": 0.5})
    assert text == "The base model was not measured on the same rows, so nothing can be said about what tuning changed."


def test_a_baseline_that_scores_higher_is_named_with_its_score(sentences):
    text = sentences(TUNED, random=dict.fromkeys(TUNED, 0.1), tfidf={"also_buy": 0.9, "review_rating": 0.3})
    assert (
        "**A baseline without a language model scores higher on 1 of 4:** What else will this customer buy? (tfidf 0.900)."
        in text
    )


def test_no_higher_baseline_is_said_too(sentences):
    text = sentences(TUNED, majority={"also_buy": 0.4})
    assert "No baseline without a language model scores higher on any of 1 task." in text


def test_of_the_same_rows_the_interval_is_that_of_the_report(tmp_path):
    values = [number % 2 for number in range(40)]
    better = [1.0 if number in (0, 2, 4, 6) else float(value) for number, value in enumerate(values)]
    base, tuned = (
        write_run(tmp_path / name, {"shop:review_rating": said(*map(float, of_rows))})
        for name, of_rows in (("base", values), ("tuned", better))
    )
    (found,) = read_comparisons([tuned], [base], [])
    (line,) = found.report.lines
    gain = line.gains[1]
    assert gain.value == pytest.approx(0.1)
    assert 0 < gain.low < gain.high < 0.25, "4 of 40 rows differ, by one"
    assert headline(found.report).startswith("0.600 (95 % interval 0.")
    assert headline(found.report).endswith(", the base's 0.500")


def test_what_an_unseen_wording_costs_is_said_in_a_line_where_rows_were_asked_in_it(tmp_path):
    own = {f"shop:{name}": said(*([1.0] * 30 + [0.0] * 10)) for name in ("also_buy", "answerability")}
    other = {
        f"shop_unseen:{task.removeprefix('shop:')}": [
            replace(row, prompt=f"Otherwise: {row.prompt}", value=0.0, specific={**row.specific, "paired_with": row.prompt})
            for row in rows[:20]
        ]
        for task, rows in own.items()
    }
    tuned, base = write_run(tmp_path / "tuned", own | other), write_run(tmp_path / "base", own)
    (found,) = read_comparisons([tuned], [base], [])
    text = " ".join(conclusions(found.report))
    assert (
        "In a wording that it was not trained on it scores 0.000 where it scores 1.000 in the trained ones (40 rows asked in "
        "both, mean over 2 tasks): -1.000"
    ) in text
    assert [line.name for line in found.report.lines] == ["shop:answerability", "shop:also_buy"]
    (before,) = read_comparisons([base], [], [])
    assert "wording" not in " ".join(conclusions(before.report))
