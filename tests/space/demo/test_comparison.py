"""What one model said, as a column of the page and as JSON; and which examples the page has."""

from common.tasks import TASKS
from space.demo.answer_view import Grade
from space.demo.backend import ModelAnswer
from space.demo.comparison import answer_panel, as_json, form_examples, summary
from space.demo.examples import PageExample, read_examples

RANKING, RATING, ANSWERING = (TASKS[name] for name in ("query_product_ranking", "review_rating", "answer_generation"))
EXAMPLE = read_examples()[RANKING.name][0]
REVIEW = read_examples()[RATING.name][0]


def panel_of(said: ModelAnswer | None, example: PageExample = EXAMPLE, known: bool = True) -> object:
    return answer_panel("Tuned", "org/model", TASKS[example.task], example.prompt, said, example if known else None)


def test_before_a_model_says_anything_its_column_has_all_lines() -> None:
    panel = panel_of(None)
    assert panel.state == "waiting …"
    assert panel.generating
    assert [line.number for line in panel.lines] == list("12345")
    assert panel.grade is None


def test_while_it_writes_what_is_complete_is_placed_and_nothing_is_marked() -> None:
    panel = panel_of(ModelAnswer("2,5,1"))
    assert panel.state == "writing …"
    assert panel.raw_text == "2,5,1"
    assert [line.number for line in panel.lines if line.chosen] == ["2", "5"]
    assert not any(line.note for line in panel.lines)
    assert panel.grade is None


def test_when_it_has_finished_the_answer_is_read_marked_and_timed() -> None:
    panel = panel_of(ModelAnswer("2,5,4,1,3", 1.26))
    assert panel.grade == Grade("correct", "NDCG 1.00")
    assert panel.state == "1.3 s"
    assert [line.note for line in panel.lines] == ["exact", "exact", "substitute", "complement", "irrelevant"]
    assert panel_of(ModelAnswer("2,5,4,1,3", 1.26), known=False).grade is None


def test_an_answer_that_had_to_stop_says_so() -> None:
    assert panel_of(ModelAnswer("2,5", 60.0, cut=True)).state == "60.0 s, cut off: the time was up"


def test_an_unreadable_ranking_leaves_the_products_where_they_were_and_says_why() -> None:
    panel = panel_of(ModelAnswer("the second one", 1.0))
    assert "no order of the numbers" in panel.problem
    assert [(line.number, line.chosen) for line in panel.lines] == [(number, False) for number in "12345"]
    assert panel.grade == Grade("wrong", "unreadable")


def test_chances_stand_beside_the_options_as_soon_as_they_are_known() -> None:
    panel = panel_of(ModelAnswer("", probabilities=(0.1, 0.1, 0.1, 0.1, 0.6)), REVIEW)
    assert [line.probability for line in panel.lines] == [0.1, 0.1, 0.1, 0.1, 0.6]
    assert not any(line.chosen for line in panel.lines)


def test_a_free_text_is_shown_once_and_what_does_not_count_beside_it() -> None:
    example = read_examples()[ANSWERING.name][0]
    short = panel_of(ModelAnswer("Yes, it does.", 1.0), example)
    assert (short.raw_text, [line.text for line in short.lines]) == (None, ["Yes, it does."])
    long = panel_of(ModelAnswer("Yes.\nQuestion: what else?", 1.0), example)
    assert (long.raw_text, [line.text for line in long.lines]) == ("Yes.\nQuestion: what else?", ["Yes."])


def test_what_came_out_is_told_in_short_to_those_who_listen() -> None:
    said = {"base": ModelAnswer("none", 1.0), "tuned": ModelAnswer("2,5,4,1,3", 1.0)}
    assert summary(RANKING, said, EXAMPLE) == "Base: wrong, unreadable. Tuned: correct, NDCG 1.00."
    assert summary(RANKING, said, None) == "Both answers are there."


def test_json_has_text_reading_chances_seconds_and_mark() -> None:
    said = ModelAnswer("5 stars", 0.51249, probabilities=(0.0, 0.0, 0.125, 0.25, 0.625))
    assert as_json(RATING, REVIEW.prompt, said, REVIEW) == {
        "text": "5 stars",
        "read_as": "5",
        "chances": {"1": 0.0, "2": 0.0, "3": 0.125, "4": 0.25, "5": 0.625},
        "seconds": 0.512,
        "cut": False,
        "scored": False,
        "mark": {"verdict": "correct", "note": ""},
    }
    assert as_json(RATING, REVIEW.prompt, None, REVIEW) is None


def test_rows_that_no_form_sends_and_tasks_that_are_gone_are_no_examples() -> None:
    rows = {RATING.name: (REVIEW, PageExample(RATING.name, "Rate this: bad. ", "1")), "gone": (PageExample("gone", "a", "b"),)}
    assert {name: len(found) for name, found in form_examples(rows).items()} == {RATING.name: 1}
    assert form_examples({RATING.name: (PageExample(RATING.name, "Rate this: bad. ", "1"),)}) == {}
