"""The baselines of quality: what they are told, that they learn what can be learnt, and that they answer as the tasks ask."""

import math
import random
from itertools import permutations
from statistics import mean

import pytest

from common.answers import gold, parse_completion
from common.errors import UserError
from common.prompts import read_fields, render_prompt, template_fields
from common.scoring import ndcg, score_completion
from common.tasks import TASKS
from eval_tasks.baselines.encoders import Encoder, bm25, minilm, ranker, similarity, tfidf
from eval_tasks.baselines.shop import (
    BASELINES,
    LEAST_FOR_FOLDS,
    baseline_answers,
    classify,
    copied_words,
    generate,
    majority_answers,
    nearest_completions,
    overlaps,
    random_answers,
    rank,
    texts_of,
)
from eval_tasks.baselines.template_rows import TemplateRow, prompt_row, template_row
from tests.eval_tasks.questions import FIELDS, TITLES, answer_of, make_row

GOOD, BAD = ("lovely", "superb", "perfect"), ("broken", "awful", "useless")
FITS, FITS_NOT = "It is what the query asks for", "It has nothing to do with the query"


def review(words: str, rating: int) -> TemplateRow:
    return template_row(make_row("review_rating", str(rating), review=words, group=words))


def reviews(count: int) -> list[TemplateRow]:
    rng = random.Random(0)
    return [
        review(f"A {rng.choice(GOOD if number % 2 else BAD)} {rng.choice(TITLES)} {number}", 5 if number % 2 else 1)
        for number in range(count)
    ]


def pair(query: str, product: str, fits: bool, turned: bool) -> TemplateRow:
    options = [FITS_NOT, FITS] if turned else [FITS, FITS_NOT]
    label = options.index(FITS if fits else FITS_NOT)
    return template_row(make_row("query_product_relation", str(label), query=query, product=product, options=options))


def pairs(titles: list[str]) -> list[TemplateRow]:
    """Whether a product is what its query asks for shows in shared words only, and its number means nothing."""
    rng = random.Random(1)
    return [
        pair(title, f"{other} number {number}", title == other, rng.random() < 0.5)
        for number, (title, other) in enumerate((title, other) for title in titles for other in (title, rng.choice(titles)))
    ]


def share(rows: list[TemplateRow], said: list[str]) -> float:
    return mean(score_completion(row.task, text, row.answer) for row, text in zip(rows, said, strict=True))


def encoder(rows: list[TemplateRow]) -> Encoder:
    return tfidf(texts_of(rows))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("template", [0, 1])
def test_fields_are_read_back_from_every_template(name: str, template: int) -> None:
    text = TASKS[name].templates[template]
    fields = {field: FIELDS[field] for field in template_fields(text)}
    read = read_fields(TASKS[name], render_prompt(text, fields))
    assert read == {field: tuple(value) if isinstance(value, list) else value for field, value in fields.items()}


def test_a_prompt_of_no_template_is_an_error() -> None:
    row = make_row("review_rating", "5")
    row["prompt"] = [{"role": "user", "content": "How many stars?"}]
    with pytest.raises(UserError, match="fits none of its templates: 'How many stars"):
        template_row(row)


@pytest.mark.parametrize("name", TASKS)
def test_gold_scores_one_and_every_baseline_can_be_read(name: str) -> None:
    row = template_row(make_row(name, answer_of(name)))
    assert score_completion(row.task, row.completion, row.answer) == pytest.approx(1)
    train = [template_row(make_row(name, answer_of(name), template=1, review=title, query=title)) for title in TITLES]
    silent = {"ranking": {"majority"}, "retrieval": set()}.get(row.task.family, {"bm25"})
    for baseline in BASELINES:
        said = baseline_answers(baseline, train, [row])
        assert (said is None) == (baseline in silent)
        if said:
            assert parse_completion(row.task, said[0]) is not None
            assert 0 <= score_completion(row.task, said[0], row.answer) <= 1


@pytest.mark.parametrize("name", TASKS)
def test_answers_do_not_depend_on_what_is_right(name: str) -> None:
    """A baseline that looked at the answer would score too well, and nothing else would show it."""
    train = [template_row(make_row(name, answer_of(name), template=1, review=title, query=title)) for title in TITLES]
    row = template_row(make_row(name, answer_of(name)))
    blind = prompt_row(row.task, row.prompt)
    for baseline in BASELINES:
        assert baseline_answers(baseline, train, [blind]) == baseline_answers(baseline, train, [row])


def test_without_rows_to_learn_from_only_guessing_has_an_answer() -> None:
    row, text = template_row(make_row("also_buy", [1])), template_row(make_row("query_generation", "lamp"))
    assert [name for name in BASELINES if baseline_answers(name, [], [row]) is not None] == ["random"]
    assert baseline_answers("random", [], [text]) is None


# --- Guessing ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [("product_relation", 1 / 3), ("review_rating", 1 / 5), ("answerability", 1 / 2), ("also_buy", 3 / 15)],
)
def test_every_guess_is_as_likely_as_any_other(name: str, expected: float) -> None:
    options = [f"statement {label}" for label in TASKS[name].labels]
    row = template_row(make_row(name, [2, 3, 9] if name == "also_buy" else answer_of(name), options=options))
    scores = [score_completion(row.task, (random_answers([], [row], seed) or [""])[0], row.answer) for seed in range(2000)]
    deviation = (mean(score**2 for score in scores) - mean(scores) ** 2) ** 0.5
    assert mean(scores) == pytest.approx(expected, abs=4 * deviation / len(scores) ** 0.5)


def test_a_guess_is_the_same_whichever_other_rows_are_asked() -> None:
    rows = [review(f"text {number}", 3) for number in range(30)]
    said = random_answers([], rows, 7)
    assert said
    assert random_answers([], rows[::-1], 7) == said[::-1]
    assert random_answers([], rows, 8) != said
    assert len(set(said)) == 5


def test_a_guess_at_a_ranking_is_on_average_the_mean_of_all_orders() -> None:
    gains = [0.0, 1.0, 0.1, 0.01, 0.1]
    row = template_row(make_row("query_product_ranking", gains))
    scores = [score_completion(row.task, (random_answers([], [row], seed) or [""])[0], gains) for seed in range(2000)]
    assert mean(scores) == pytest.approx(mean(ndcg(order, gains) for order in permutations(range(1, 6))), abs=0.02)


def test_a_guess_at_a_text_is_drawn_from_train() -> None:
    train = [template_row(make_row("query_generation", text)) for text in ("brass lamp", "teapot")]
    asked = [template_row(make_row("query_generation", "teapot", product=f"teapot {number}")) for number in range(40)]
    assert set(random_answers(train, asked, 0) or []) == {"brass lamp", "teapot"}


# --- The majority_answers answer ---


def test_the_commonest_label_is_what_counting_says() -> None:
    train = [review(f"text {number}", rating) for number, rating in enumerate((4, 5, 4, 3, 4, 5))]
    assert majority_answers(train, [review("new", 1), review("other", 4)]) == ["4", "4"]


def test_the_commonest_statement_keeps_its_meaning_whatever_its_number() -> None:
    train = [pair("a", f"{number}", number < 7, turned=number % 2 == 0) for number in range(10)]
    asked = [pair("b", "x", True, turned=False), pair("b", "y", True, turned=True)]
    assert majority_answers(train, asked) == ["0", "1"]


def test_what_was_right_most_often_is_picked_first() -> None:
    train = [template_row(make_row("next_query", [2], queries=["a", title, "c"], actions=[title])) for title in ("b", "b", "d")]
    assert majority_answers(train, [template_row(make_row("next_query", [1], queries=["x", "d", "b"]))]) == ["3,2,1"]


def test_the_commonest_text_is_given_and_no_order_is_commonest() -> None:
    train = [template_row(make_row("query_generation", text)) for text in ("lamp", "teapot", "lamp")]
    assert majority_answers(train, train[:2]) == ["lamp", "lamp"]
    ranking = template_row(make_row("query_product_ranking", [1.0, 0, 0, 0, 0]))
    assert majority_answers([ranking], [ranking]) is None


# --- Reading ---


@pytest.mark.parametrize("count", [LEAST_FOR_FOLDS - 4, LEAST_FOR_FOLDS + 20])
def test_tfidf_learns_reviews_that_words_tell_apart(count: int) -> None:
    train, asked = reviews(count), [review("An awful thing", 1), review("What a superb thing", 5), review("useless", 1)]
    assert share(asked, classify(train, asked, encoder(train))) == 1


def test_a_pair_is_told_by_what_its_texts_share_and_not_by_numbers() -> None:
    titles = [f"{colour} {title}" for colour in ("red", "blue", "green", "black", "white") for title in TITLES]
    train, asked = pairs(titles[:24]), pairs(titles[24:])
    assert share(asked, classify(train, asked, encoder(train))) > 0.9


def test_only_what_a_row_lists_is_answered() -> None:
    train = [pair(title, title, fits, turned=False) for title in TITLES for fits in (True, False)]
    asked = template_row(make_row("query_product_relation", "1", options=["never seen", FITS_NOT]))
    assert classify(train, [asked], encoder(train)) == ["1"]


def test_one_class_to_learn_from_is_answered_always() -> None:
    train = [review(f"text {number}", 3) for number in range(3)]
    assert classify(train, [review("new", 1)], encoder(train)) == ["3"]


def test_overlaps_of_the_same_text_and_of_unlike_texts() -> None:
    rows = [pair("brass lamp", "Brass lamp", True, False), pair("teapot", "wool blanket", False, False)]
    same, unlike = overlaps(rows, encoder(rows)).tolist()
    assert same == pytest.approx([1, 1, 1, 1, 2, 2])
    assert unlike == pytest.approx([0, 0, 0, 0, 1, 2])
    assert overlaps([review("one text", 3)], encoder(rows)).tolist() == [[0] * 6]


@pytest.mark.parametrize("name", ["tfidf", "bm25", "minilm"])
def test_an_exact_title_is_ranked_first(name: str) -> None:
    rng = random.Random(2)
    rows = []
    for title in TITLES:
        products = rng.sample(TITLES, 5)
        gains = [1.0 if product == title else 0.0 for product in products]
        if any(gains):
            rows.append(template_row(make_row("query_product_ranking", gains, query=title, products=products)))
    assert share(rows, rank(rows, ranker(name, TITLES))) == 1


def test_bm25_by_hand() -> None:
    """Of 4 texts of 2 words on average, one has `lamp` and two have `brass`."""
    weigh = bm25(["brass lamp", "brass teapot", "wool blanket", "garden hose"])
    lamp, brass = math.log(1 + 3.5 / 1.5), math.log(1 + 2.5 / 2.5)
    short, long = 1.2 * (0.25 + 0.75 * 1 / 2), 1.2 * (0.25 + 0.75 * 4 / 2)
    expected = [lamp / (1 + short), 2 * brass / (2 + long) + lamp / (1 + long), 0]
    assert weigh("Brass lamp, brass", ["Lamp", "lamp: brass, BRASS wire", "kettle"]) == pytest.approx(expected)
    assert bm25([""])("a", ["", "a"])[0] == 0


def test_rankers_read_the_question_and_not_the_list() -> None:
    row = template_row(make_row("query_product_ranking", [0, 0, 1.0, 0, 0]))
    assert row.texts() == ["desk lamp"]
    assert template_row(make_row("next_title_amazon", "lamp")).texts() == ["\n".join(FIELDS["products"])]


def test_embeddings_know_words_that_are_not_shared() -> None:
    near, far = similarity("running shoes", ["sneakers for jogging", "stainless steel kettle"], minilm())
    assert near > far + 0.2


def test_the_answer_of_the_nearest_row_is_recalled() -> None:
    train = [template_row(make_row("query_generation", title.split()[1], product=f"{title}, large")) for title in TITLES]
    asked = [template_row(make_row("query_generation", "?", product=f"small {title}")) for title in TITLES]
    assert nearest_completions(train, asked, encoder(train)) == [title.split()[1] for title in TITLES]


def test_a_query_is_copied_from_the_title_where_that_is_right_more_often() -> None:
    train = [
        template_row(make_row("query_generation", title, product=f"{title} {number} of 9 in a box"))
        for number, title in enumerate(TITLES)
    ]
    asked = [template_row(make_row("query_generation", "oak table", product="oak table for six persons"))]
    assert generate(train, asked, encoder(train)) == ["oak table"]
    same = [template_row(make_row("query_generation", "a gift", product=title)) for title in TITLES]
    assert generate(same, asked, encoder(same)) == ["a gift"]


def test_of_many_lines_the_one_that_answers_is_copied() -> None:
    snippets = ["It came late.", "The bulb is in the box, warm white.", "Nice colour."]
    row = template_row(make_row("answer_generation", "yes", question="Is a bulb in the box?", snippets=snippets))
    assert copied_words([row], encoder([row]), 6) == ["The bulb is in the box,"]


def test_a_label_is_read_as_what_it_stands_for() -> None:
    assert pair("a", "b", True, turned=True).meaning() == FITS
    assert review("x", 4).meaning() == "4"
    assert gold(TASKS["review_rating"], review("x", 4).answer) == "4"
