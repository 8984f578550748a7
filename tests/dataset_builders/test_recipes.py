"""What a recipe is for, by example, and what holds for all twelve; test_recipes_<family>.py recompute every row."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable

import pytest

from common.prompts import template_fields
from common.tasks import GAINS, TASKS
from dataset_builders.recipes import multiple_choice, recipes
from dataset_builders.tables import LABELS
from tests import raw
from tests.dataset_builders import recipe_tables
from tests.dataset_builders.recipe_runs import Drawn, DrawRows, Rows, Tables


@pytest.fixture(scope="module")
def drawn(draw_rows: DrawRows) -> Callable[[str], Drawn]:
    """All that a task draws from its tables in INPUTS."""
    known: dict[str, Drawn] = {}

    def of(task: str) -> Drawn:
        if task not in known:
            known[task] = draw_rows(task, INPUTS[task]())
        return known[task]

    return of


def reviews() -> Rows:
    """Two categories, ratings unevenly spread, with titles and texts that give the rating away or repeat each other."""
    rows = [
        {
            "review_id": f"r{number}",
            "product_id": f"p{number % 17}",
            "category": "Home" if number % 3 else "Garden",
            "rating": (5, 5, 5, 4, 1, 3, 5, 2)[number % 8],
            "title": ("Five Stars", "four stars", None, "Lovely", "1 star", "FIVE STARS!", "3 Stars")[number % 7],
            "text": f"Text number {number}" + (" I give it five stars." if number % 5 == 0 else ""),
        }
        for number in range(120)
    ]
    rows += [{**rows[0], "review_id": "twin", "text": rows[0]["text"].upper()}]
    rows += [
        {**rows[0], "review_id": f"silent{number}", "text": text}
        for number, text in enumerate(("5 stars", "Five Stars", "!!! 10"))
    ]
    return rows


def test_review_rating_keeps_each_ratings_share_of_a_category(draw_rows: DrawRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiple_choice, "REVIEWS_PER_CATEGORY", 20)
    found = draw_rows("review_rating", {"reviews": reviews()})
    quota = {"1": 4, "2": 2, "3": 4, "4": 4, "5": 6}
    distinct = [
        row for row in reviews() if re.search("[^\\W\\d_]", row["text"]) and not row["review_id"].startswith(("twin", "silent"))
    ]
    available = Counter((row["category"], str(row["rating"])) for row in distinct)
    assert Counter((row["category"], row["answer"]) for row in found.rows) == {
        key: min(count, quota[key[1]]) for key, count in available.items()
    }
    assert found.accounted_records() == set(range(len(reviews())))


def test_review_rating_keeps_the_shares_where_only_some_of_the_reviews_are_needed(draw_rows: DrawRows) -> None:
    """Most reviews give five stars, and their lowest draws are lower than those of the few that give two."""
    rows = [
        {"review_id": f"r{n}", "product_id": "p", "category": "Home", "rating": (5, 5, 5, 5, 5, 4, 3, 2, 1, 5)[n % 10]}
        for n in range(9000)
    ]
    rows = [{**row, "title": None, "text": f"Text of number {n}"} for n, row in enumerate(rows)]
    answers = [row["answer"] for row in draw_rows("review_rating", {"reviews": rows}, limit=600).rows]
    assert len(answers) == 600
    for part in (answers, answers[:300]):
        shares = [part.count(str(rating)) / len(part) for rating in range(1, 6)]
        assert shares == pytest.approx(multiple_choice.RATING_SHARES, abs=0.06)


@pytest.mark.parametrize("task", ["answerability"])
def test_the_first_rows_of_two_kinds_are_of_both_alike(draw_rows: DrawRows, task: str) -> None:
    questions = [
        {"question_id": f"q{n}", "product_id": f"p{n}", "question": f"Does number {n} fit?", "answerable": n % 12 == 0}
        for n in range(3600)
    ]
    questions = [{**question, "snippets": ["It fits."], "answers": ["Yes."]} for question in questions]
    answers = [row["answer"] for row in draw_rows(task, {"questions": questions}, limit=400).rows]
    assert [answers.count(answer) for answer in ("yes", "no")] == [200, 200]
    assert answers[:200].count("yes") == pytest.approx(100, abs=25)


def test_review_rating_takes_out_what_gives_the_rating_away(drawn: Callable[[str], Drawn]) -> None:
    rows = drawn("review_rating").rows
    told = [" ".join(row["review"]) if isinstance(row["review"], list) else row["review"] for row in rows]
    assert not [text for text in told if re.search(r"\bstars?\b", text, re.IGNORECASE)]
    assert [text for text in told if "Lovely" in text]
    assert [text for text in told if "I give it" in text], "the rest of the sentence stays"


GIVEN_AWAY = ("5.0 out of 5 stars", "4/5 stars", "5 out of 5", "5/5", "*****", "five-star", "Five star rating")


def test_review_rating_takes_out_other_ways_to_say_it(draw_rows: DrawRows) -> None:
    rows = [
        {"review_id": p, "product_id": "p", "category": "Home", "rating": 5, "title": p, "text": f"Mug {chr(65 + i)}. {p}"}
        for i, p in enumerate(GIVEN_AWAY)
    ]
    told = [" ".join(row["review"]) for row in draw_rows("review_rating", {"reviews": rows}).rows]
    assert len(told) == len(GIVEN_AWAY)
    assert not [text for text in told if re.search(r"\d|five|\*", text, re.IGNORECASE)]


def test_review_rating_leaves_numbers_that_say_nothing_of_the_rating(draw_rows: DrawRows) -> None:
    text = "Holds 5 cups, two lids, 1.5 litre, 4 out of ten arrived; gets 24/7 use. Five friends starred in my film."
    row = {"review_id": "r", "product_id": "p", "category": "Home", "rating": 5, "title": None, "text": text}
    [made] = draw_rows("review_rating", {"reviews": [row]}).rows
    assert text in made["review"]


def test_review_rating_drops_repeated_and_silent_texts(drawn: Callable[[str], Drawn]) -> None:
    found = drawn("review_rating")
    texts = [row["review"][-1].lower() for row in found.rows]
    assert len(set(texts)) == len(texts) == 120
    assert Counter(reason for told in found.reasons.values() for reason in told) == {
        "review repeats another's text": 1,
        "review says nothing but its rating": 3,
    }


def shelf(count: int) -> Rows:
    return [{"product_id": f"p{number}", "locale": "us", "title": raw.title(number)} for number in range(count)]


def judgments(queries: int = 60) -> Rows:
    """Some queries have all four labels and five products, some lack either; some products have no title."""
    draw = random.Random(4)
    return [
        {
            "query_id": str(query),
            "query": f"{'Query' if query % 2 else ' query'} {query}",
            "product_id": f"p{product}",
            "locale": "us",
            "label": draw.choice(LABELS),
        }
        for query in range(queries)
        for product in draw.sample(range(110), draw.randint(3, 12))
    ]


def titled_labels(rows: Rows, titles: dict[str, str]) -> dict[str, dict[str, str]]:
    """Query -> title -> label, by what the recipes call the same query and the same title."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        if row["product_id"] in titles:
            found[row["query"].strip().lower()][titles[row["product_id"]]] = row["label"]
    return found


def test_ranking_asks_for_each_query_that_has_all_four_labels_and_five_products(drawn: Callable[[str], Drawn]) -> None:
    rows = drawn("query_product_ranking").rows
    labels = titled_labels(judgments(), {f"p{number}": raw.title(number) for number in range(100)})
    usable = {query for query, found in labels.items() if set(found.values()) == set(LABELS) and len(found) >= 5}
    assert 10 < len(usable) < 60
    assert {row["query"] for row in rows} == usable
    assert len(rows) == len(usable)
    for row in rows:
        assert len(set(row["products"])) == 5
        five = [labels[row["query"]][title] for title in row["products"]]
        assert set(five) == set(LABELS)
        assert row["answer"] == [GAINS[label] for label in five]
        assert row["group"] == f"query:{row['query']}"
    assert drawn("query_product_ranking").accounted_records() >= set(range(len(judgments())))


def test_ranking_shuffles_its_lists_and_draws_the_label_that_is_there_twice(drawn: Callable[[str], Drawn]) -> None:
    rows = drawn("query_product_ranking").rows
    assert {row["answer"].index(1.0) for row in rows} == {0, 1, 2, 3, 4}
    assert {gain for row in rows for gain, count in Counter(row["answer"]).items() if count == 2} == set(GAINS.values())


def also_bought(count: int = 60) -> Rows:
    draw = random.Random(5)
    links = [
        {
            "product_id": f"p{number}",
            "other_product_id": f"p{other}",
            "relation": draw.choice(("also_buy", "also_buy", "also_view")),
        }
        for number in range(count)
        for other in draw.sample(range(count + 5), draw.randint(0, 9))
    ]
    return [link for link in links if link["product_id"] != link["other_product_id"]]


def alike_shelf(count: int = 60) -> Rows:
    """Every fourth product is its neighbour in another size."""
    rows = shelf(count)
    for number in range(3, count, 4):
        rows[number]["title"] = f"{rows[number - 1]['title']} size {number}"
    return rows


def words(text: str) -> set[str]:
    return set(re.sub(r"[^\w]+", " ", text.lower()).split())


def test_also_buy_lists_true_titles_among_others_that_are_not_bought(drawn: Callable[[str], Drawn]) -> None:
    rows = drawn("also_buy").rows
    titles = {row["product_id"]: row["title"] for row in alike_shelf()}
    bought: dict[str, set[str]] = defaultdict(set)
    for link in also_bought():
        if link["relation"] == "also_buy" and link["product_id"] in titles and link["other_product_id"] in titles:
            bought[titles[link["product_id"]]].add(titles[link["other_product_id"]])

    def different(title: str, other: str) -> bool:
        return len(words(title) & words(other)) <= 0.65 * min(len(words(title)), len(words(other)))

    eligible = {title: {other for other in others if different(title, other)} for title, others in bought.items()}
    assert eligible != bought, "some are alike"
    assert max(map(len, eligible.values())) > 5
    assert {row["product"] for row in rows} == {title for title, others in eligible.items() if others}
    for row in rows:
        true = {row["candidates"][number - 1] for number in row["answer"]}
        assert len(row["candidates"]) == len({title.lower() for title in row["candidates"]}) == 15
        assert row["product"] not in row["candidates"]
        assert len(row["answer"]) == len(true) == min(5, len(eligible[row["product"]]))
        assert true <= eligible[row["product"]]
        assert not (set(row["candidates"]) - true) & bought[row["product"]]
        assert row["number"] == f"{len(true)} product{'s' * (len(true) > 1)}"
    assert {number for row in rows for number in row["answer"]} == set(range(1, 16)), "true items stand at every place"
    links = [i for i, link in enumerate(also_bought()) if link["relation"] == "also_buy"]
    assert set(links) <= drawn("also_buy").accounted_records()


def test_also_buy_makes_no_list_of_too_few_products(draw_rows: DrawRows) -> None:
    link = {"product_id": "p0", "other_product_id": "p1", "relation": "also_buy"}
    found = draw_rows("also_buy", {"co_purchases": [link], "products": shelf(15)})
    assert found.rows == []
    assert found.reasons[0] == {"there are not 15 products to choose from"}
    [row] = draw_rows("also_buy", {"co_purchases": [link], "products": shelf(16)}).rows
    assert [row["candidates"][number - 1] for number in row["answer"]] == [raw.title(1)]


def test_also_buy_needs_the_titles_of_both_products(draw_rows: DrawRows) -> None:
    links = [{"product_id": a, "other_product_id": b, "relation": "also_buy"} for a, b in (("p0", "gone"), ("gone", "p0"))]
    found = draw_rows("also_buy", {"co_purchases": links, "products": shelf(30)})
    assert found.rows == []
    assert [found.reasons[0], found.reasons[1]] == [{"bought product has no title here"}, {"product has no title here"}]


def questions() -> Rows:
    return [
        {
            "question_id": f"n{number}",
            "product_id": f"p{number}",
            "question": f"How tall is {number}?",
            "snippets": [f"Snippet {place} of {number}." for place in range(number % 9)],
            "answers": [f" First of {number}. " + "word " * (number * 3 % 100), "Second."][: number % 4],
            "answerable": number % 5 != 0,
        }
        for number in range(80)
    ]


def test_answer_generation_takes_the_first_answer_and_at_most_five_snippets(drawn: Callable[[str], Drawn]) -> None:
    rows = drawn("answer_generation").rows
    usable = {
        row["question"]: row
        for row in questions()
        if row["answerable"] and row["answers"] and row["snippets"] and len(row["answers"][0].split()) <= 60
    }
    assert {row["question"] for row in rows} == set(usable)
    for row in rows:
        question = usable[row["question"]]
        assert row["answer"] == question["answers"][0].strip()
        assert row["snippets"] == question["snippets"][:5]
        assert row["group"] == f"product:{question['product_id']}"
    assert drawn("answer_generation").accounted_records() == set(range(len(questions())))


INPUTS: dict[str, Callable[[], Tables]] = {
    "review_rating": lambda: {"reviews": reviews()},
    "query_product_ranking": lambda: {"judgments": judgments(), "products": shelf(100)},
    "also_buy": lambda: {"co_purchases": also_bought(), "products": alike_shelf()},
    "answer_generation": lambda: {"questions": questions()},
    "answerability": lambda: {"questions": questions()},
    "query_relation": lambda: recipe_tables.judgments(random.Random(0)),
    "query_product_relation": lambda: recipe_tables.judgments(random.Random(0)),
    "query_generation": lambda: recipe_tables.judgments(random.Random(0)),
    "product_relation": lambda: recipe_tables.links(random.Random(0), ids_of_one_source=True),
    "next_title_amazon": lambda: recipe_tables.links(random.Random(0)),
    "next_title_merrec": lambda: recipe_tables.events(random.Random(12)),
    "next_query": lambda: recipe_tables.events(random.Random(12)),
}
every_input = pytest.mark.parametrize("task", INPUTS)


@every_input
def test_rows_depend_on_neither_order_nor_copies_of_the_input_nor_on_threads(
    draw_rows: DrawRows, drawn: Callable[[str], Drawn], task: str
) -> None:
    order = random.Random(1)
    doubled = {name: order.sample([*table, *table], 2 * len(table)) for name, table in INPUTS[task]().items()}
    once, again = draw_rows(task, INPUTS[task](), threads=1), draw_rows(task, doubled, threads=4)
    assert once.content == again.content == drawn(task).content
    assert [told for told in again.reasons.values() if any("another record has the same" in reason for reason in told)]


def test_which_of_two_records_with_one_key_stays_hangs_on_what_they_say_not_on_their_order(draw_rows: DrawRows) -> None:
    twins = [
        {"review_id": f"r{number}", "product_id": "p", "category": "Home", "rating": 3, "text": f"{word} {number}"}
        for number in range(20)
        for word in ("good", "bad", "fair")
    ]
    one, other = (draw_rows("review_rating", {"reviews": rows}) for rows in (twins, twins[::-1]))
    assert one.content == other.content
    assert len(one.rows) == 20
    assert len(one.reasons) == 40


@every_input
def test_the_seed_decides_which_rows_are_made_and_no_more_are_made_than_needed(
    draw_rows: DrawRows, drawn: Callable[[str], Drawn], task: str
) -> None:
    few, other = draw_rows(task, INPUTS[task](), limit=7), draw_rows(task, INPUTS[task](), limit=7, seed=1)
    assert 0 < len(few.rows) <= 7
    assert 0 < len(other.rows) <= 7
    assert few.content != other.content
    assert {row["key"] for row in few.rows} <= {row["key"] for row in drawn(task).rows}


@every_input
def test_a_row_has_what_its_templates_ask_for(drawn: Callable[[str], Drawn], task: str) -> None:
    rows = drawn(task).rows
    needed = set().union(*map(template_fields, TASKS[task].templates)) | {"answer", "key", "group", "source", "records"}
    needed |= {"next_query": {"queries_by", "hard"}, "also_buy": {"hard", "hard_records"}}.get(task, set())
    assert all(set(row) == needed for row in rows)
    assert len({row["key"] for row in rows}) == len(rows)
    assert all(set(row["records"]) - {None} for row in rows)


def test_spellings_of_a_query_that_disagree_are_votes_whatever_their_order(draw_rows: DrawRows) -> None:
    """Mug and mug are one query to the recipe but two to the table's key, so each product has three votes here."""
    rows = [
        {
            "query_id": "q",
            "query": f"{spelling} {number}",
            "product_id": f"p{place}",
            "locale": "us",
            "label": LABELS[(place + (turn == 2)) % 4],
        }
        for number in range(40)
        for turn, spelling in enumerate(("Mug", "mug", " MUG"))
        for place in range(12)
    ]
    orders = [random.Random(turn).sample(rows, len(rows)) for turn in range(6)]
    found = [draw_rows("query_product_ranking", {"judgments": order, "products": shelf(12)}).content for order in orders]
    assert [len(drawn) for drawn in found] == [40] * 6
    assert all(drawn == found[0] for drawn in found)


def test_every_task_has_a_recipe() -> None:
    assert list(recipes()) == list(TASKS)
