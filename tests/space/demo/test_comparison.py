"""What one model said, as a column of the page and as JSON; and which examples the page has."""

from common.tasks import TASKS
from space.demo.answer_view import Mark
from space.demo.backend import Said
from space.demo.comparison import answer_panel, as_json, in_short, samples_of
from space.demo.examples import Example, read_examples

RANKING, RATING, ANSWERING = (TASKS[name] for name in ("query_product_ranking", "review_rating", "answer_generation"))
EXAMPLE = read_examples()[RANKING.name][0]
REVIEW = read_examples()[RATING.name][0]


def panel_of(said: Said | None, example: Example = EXAMPLE, known: bool = True) -> object:
    return answer_panel("Tuned", "org/model", TASKS[example.task], example.prompt, said, example if known else None)


def test_before_a_model_says_anything_its_column_has_all_lines() -> None:
    panel = panel_of(None)
    assert panel.state == "waiting …"
    assert panel.writing
    assert [line.number for line in panel.lines] == list("12345")
    assert panel.mark is None


def test_while_it_writes_what_is_complete_is_placed_and_nothing_is_marked() -> None:
    panel = panel_of(Said("2,5,1"))
    assert panel.state == "writing …"
    assert panel.said == "2,5,1"
    assert [line.number for line in panel.lines if line.chosen] == ["2", "5"]
    assert not any(line.note for line in panel.lines)
    assert panel.mark is None


def test_when_it_has_finished_the_answer_is_read_marked_and_timed() -> None:
    panel = panel_of(Said("2,5,4,1,3", 1.26))
    assert panel.mark == Mark("correct", "NDCG 1.00")
    assert panel.state == "1.3 s"
    assert [line.note for line in panel.lines] == ["exact", "exact", "substitute", "complement", "irrelevant"]
    assert panel_of(Said("2,5,4,1,3", 1.26), known=False).mark is None


def test_an_answer_that_had_to_stop_says_so() -> None:
    assert panel_of(Said("2,5", 60.0, cut=True)).state == "60.0 s, cut off: the time was up"


def test_an_unreadable_ranking_leaves_the_products_where_they_were_and_says_why() -> None:
    panel = panel_of(Said("the second one", 1.0))
    assert "no order of the numbers" in panel.problem
    assert [(line.number, line.chosen) for line in panel.lines] == [(number, False) for number in "12345"]
    assert panel.mark == Mark("wrong", "unreadable")


def test_chances_stand_beside_the_options_as_soon_as_they_are_known() -> None:
    panel = panel_of(Said("", chances=(0.1, 0.1, 0.1, 0.1, 0.6)), REVIEW)
    assert [line.chance for line in panel.lines] == [0.1, 0.1, 0.1, 0.1, 0.6]
    assert not any(line.chosen for line in panel.lines)


def test_a_free_text_is_shown_once_and_what_does_not_count_beside_it() -> None:
    example = read_examples()[ANSWERING.name][0]
    short = panel_of(Said("Yes, it does.", 1.0), example)
    assert (short.said, [line.text for line in short.lines]) == (None, ["Yes, it does."])
    long = panel_of(Said("Yes.\nQuestion: what else?", 1.0), example)
    assert (long.said, [line.text for line in long.lines]) == ("Yes.\nQuestion: what else?", ["Yes."])


def test_what_came_out_is_told_in_short_to_those_who_listen() -> None:
    said = {"base": Said("none", 1.0), "tuned": Said("2,5,4,1,3", 1.0)}
    assert in_short(RANKING, said, EXAMPLE) == "Base: wrong, unreadable. Tuned: correct, NDCG 1.00."
    assert in_short(RANKING, said, None) == "Both answers are there."


def test_json_has_text_reading_chances_seconds_and_mark() -> None:
    said = Said("5 stars", 0.51249, chances=(0.0, 0.0, 0.125, 0.25, 0.625))
    assert as_json(RATING, REVIEW.prompt, said, REVIEW) == {
        "text": "5 stars",
        "read_as": "5",
        "chances": {"1": 0.0, "2": 0.0, "3": 0.125, "4": 0.25, "5": 0.625},
        "seconds": 0.512,
        "cut": False,
        "mark": {"verdict": "correct", "note": ""},
    }
    assert as_json(RATING, REVIEW.prompt, None, REVIEW) is None


def test_rows_that_no_form_sends_and_tasks_that_are_gone_are_no_examples() -> None:
    rows = {RATING.name: (REVIEW, Example(RATING.name, "Rate this: bad. ", "1")), "gone": (Example("gone", "a", "b"),)}
    assert {name: len(samples) for name, samples in samples_of(rows).items()} == {RATING.name: 1}
    assert samples_of({RATING.name: (Example(RATING.name, "Rate this: bad. ", "1"),)}) == {}
