"""Agreement of models with the constructed labels, and its plot."""

import random
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from dataset_builders.labelling.agreement import UNREADABLE, measure_agreement
from dataset_builders.labelling.plots import plot_agreement
from dataset_builders.labelling.votes import BOUNDS
from tests.dataset_builders.labelling.example_rows import ranking, rating, relation, selection, vote


def test_labels_are_counted_by_what_they_say_in_each_prompt() -> None:
    said = [("2", "2"), ("2", "1"), ("0", "0"), ("0", "nothing"), ("0", "2")]
    rows = [(row := relation(label, number), [vote(row, text)]) for number, (label, text) in enumerate(said)]
    [found] = measure_agreement(rows, BOUNDS).values()
    assert dict(found.confusion) == {
        ("irrelevant", "irrelevant"): 1,
        ("irrelevant", "narrowing"): 1,
        ("substitute", "substitute"): 1,
        ("substitute", UNREADABLE): 1,
        ("substitute", "irrelevant"): 1,
    }
    assert found.labels() == {"irrelevant": (2, 1), "substitute": (3, 1)}
    assert (found.answers, found.agreed, found.unreadable, found.share) == (5, 2, 1, 0.4)


@pytest.mark.parametrize("seed", range(5))
def test_kappa_of_labels_is_cohens(seed: int) -> None:
    rng = random.Random(seed)
    labels = [str(rng.choice((1, 2, 5, 5, 5))) for _ in range(60)]
    said = [label if rng.random() < 0.5 else str(rng.randint(0, 5)) for label in labels]  # 0 cannot be read
    rows = [(row := rating(label, number), [vote(row, said[number])]) for number, label in enumerate(labels)]
    [found] = measure_agreement(rows, BOUNDS).values()
    assert found.kappa == pytest.approx(cohen_kappa_score(labels, said))
    assert found.agreed == sum(map(str.__eq__, labels, said))


def test_kappa_of_the_others_is_what_goes_beyond_a_random_answer() -> None:
    rows = [(row := selection([number], number), [vote(row, text)]) for number, text in ((1, "1"), (2, "9"), (3, "?"))]
    [found] = measure_agreement(rows, BOUNDS).values()
    assert (found.share, found.chance) == (pytest.approx(1 / 3), pytest.approx(1 / 15))
    assert found.kappa == pytest.approx((1 / 3 - 1 / 15) / (1 - 1 / 15))
    assert (found.scores, found.labels()) == ([1.0, 0.0], {})
    row = ranking([1.0] * 5)
    [always] = measure_agreement([(row, [vote(row, "1,2,3,4,5")])], BOUNDS).values()
    assert always.kappa is None


def test_tasks_and_models_are_told_apart_and_refusals_are_no_unreadable_answers() -> None:
    one, other = rating("5"), selection([2])
    rows = [
        (one, [vote(one, "5"), vote(one, "", "other", "content filter")]),
        (other, [vote(other, "2"), vote(other, "3", "other")]),
    ]
    found = measure_agreement(rows, BOUNDS)
    assert list(found) == [("review_rating", "one"), ("review_rating", "other"), ("also_buy", "one"), ("also_buy", "other")]
    refused = found["review_rating", "other"]
    assert (refused.refused, refused.unreadable, refused.confusion) == ({"content filter": 1}, 0, {("5", UNREADABLE): 1})
    assert [each.agreed for each in found.values()] == [1, 0, 1, 0]


def test_the_picture_is_the_same_to_the_byte_for_the_same_counts(tmp_path: Path) -> None:
    rows = [(row := relation(str(number % 4), number), [vote(row, str(number % 3))]) for number in range(12)]
    rows += [(row := ranking([0.0, 1.0, 0.1, 0.0, 0.0], n), [vote(row, text)]) for n, text in enumerate(("2,1,3,4,5", "?"))]
    measured = measure_agreement(rows, BOUNDS)
    for name in ("one.png", "images/other.png"):
        plot_agreement(tmp_path / name, measured, BOUNDS)
    content = (tmp_path / "one.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert (tmp_path / "images" / "other.png").read_bytes() == content


def test_the_picture_draws_a_matrix_with_all_counts_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    written: list[str] = []
    text = Axes.text

    def note(self: Axes, x: float, y: float, s: str, **options: object) -> object:
        written.append(s)
        return text(self, x, y, s, **options)

    monkeypatch.setattr(Axes, "text", note)
    row = relation("2")
    plot_agreement(
        tmp_path / "a.png", measure_agreement([(row, [vote(row, "2"), vote(row, "1"), vote(row, "1")])], BOUNDS), BOUNDS
    )
    assert written == ["1", "2"]
