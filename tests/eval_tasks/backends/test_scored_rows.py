"""Documents answered by likelihood: what is asked, what becomes of it, and that no right answer is looked at."""

import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lighteval.models.custom.custom_model import CustomModelConfig
from lighteval.tasks.requests import Doc

from common.answers import numbered_items, rotated_items, without_items
from common.errors import UserError
from common.prompts import render_prompt, template_fields
from common.tasks import TASKS, Task
from common.words import is_scored, word_prompts
from eval_tasks.backends.lighteval_model import Backend
from eval_tasks.backends.prompts import Likelihoods, LoadedModel, ScoredPrompt
from eval_tasks.backends.scored_rows import PRIOR_ROWS, scored_rows
from tests.eval_tasks.rows import GENERIC_FIELDS


class Liking:
    """A backend that likes candidates by a function of the prompt's text and each of them."""

    def __init__(self, weigh: Any) -> None:
        self.weigh = weigh
        self.asked: list[ScoredPrompt] = []

    def loaded(self) -> LoadedModel:
        return LoadedModel(("liking",), lambda prompts, *_: ((n, "written") for n in range(len(prompts))), score=self.score)

    def score(self, prompts: Sequence[ScoredPrompt], adapter: Path | None) -> Iterator[tuple[int, Likelihoods]]:
        for place in reversed(range(len(prompts))):
            self.asked.append(prompts[place])
            text = prompts[place].prompt.plain
            yield place, tuple(self.weigh(text, candidate) for candidate in prompts[place].candidates)


def backend(liking: Liking, folder: Path, lists: str = "words") -> Backend:
    config = CustomModelConfig(
        model_name=f"model_name=liking,answers=scored,lists={lists},cache_dir={folder}", model_definition_file_path="liking.py"
    )
    return Backend(config, liking.loaded())


def doc(name: str, fields: dict[str, Any], template: int = 0) -> Doc:
    query = render_prompt(TASKS[name].templates[template], fields)
    return Doc(query=query, choices=["never looked at"], gold_index=0, task_name=f"shop:{name}|0")


FIELDS: dict[str, Any] = {
    "query": "sofa",
    "products": ["lamp", "sofa bed", "sofa", "tea", "couch"],
    "product": "sofa",
    "candidates": ["lamp", "cushion", "tea", "rug"],
    "number": "2 products",
}


@pytest.mark.parametrize("task", [task for task in TASKS.values() if is_scored(task)], ids=lambda task: task.name)
def test_a_row_in_its_unseen_wording_is_scored_in_one_that_is_never_trained_on(task: Task) -> None:
    fields = {name: GENERIC_FIELDS[name] for name in template_fields(task.unseen)}
    if task.words and task.words.statements:
        fields["options"] = list(task.words.statements)
    query = render_prompt(task.unseen, fields)
    asked = Doc(query=query, choices=[""], gold_index=0, task_name=f"shop_unseen:{task.name}|0")
    [row] = scored_rows([asked]).values()
    texts = [scored.prompt.plain for scored in row.prompts]
    assert texts == (word_prompts(task, fields, unseen=True) if task.words else [query])


def test_a_ranking_is_asked_product_by_product_and_a_text_is_written(tmp_path: Path) -> None:
    liked = {"lamp": -4.0, "sofa bed": -1.0, "sofa": -0.1, "tea": -5.0, "couch": -0.5}

    def weigh(text: str, candidate: str) -> float:
        product = next(line for line in text.split("\n") if line.startswith("Product: ")).removeprefix("Product: ")
        return liked[product] if candidate == "exact" else math.log(1 - math.exp(liked[product])) - 1

    liking = Liking(weigh)
    ranking, text = doc("query_product_ranking", FIELDS), doc("query_generation", FIELDS)
    responses = backend(liking, tmp_path).greedy_until([text, ranking])
    assert [response.text[0] for response in responses] == ["written", "3,5,2,1,4"]
    assert len(liking.asked) == 5
    assert {one.candidates for one in liking.asked} == {("exact", "substitute", "complement", "irrelevant")}
    again = Liking(weigh)
    assert backend(again, tmp_path).greedy_until([text, ranking])[1].text == ["3,5,2,1,4"]
    assert not again.asked, "what was scored is kept"


@pytest.mark.parametrize("template", [0, 1])
def test_a_retrieval_is_asked_candidate_by_candidate_whatever_its_wording(tmp_path: Path, template: int) -> None:
    liking = Liking(lambda text, candidate: -1.0 if (("cushion" in text or "rug" in text) == (candidate == "yes")) else -9.0)
    (response,) = backend(liking, tmp_path).greedy_until([doc("also_buy", FIELDS, template)])
    assert response.text[0].split(",")[:2] == ["2", "4"]
    assert {one.candidates for one in liking.asked} == {("yes", "no")}


def test_lists_by_text_are_sorted_by_the_likelihood_of_the_rows_own_text_behind_each_item(tmp_path: Path) -> None:
    liked = {"lamp": -4.0, "sofa bed": -1.0, "sofa": -0.1, "tea": -5.0, "couch": -0.5, "cushion": -0.2, "rug": -0.3}
    own = {"lamp": -9.0, "tea": -1.0, "cushion": -20.0, "rug": -2.0}

    def weigh(text: str, candidate: str) -> float:
        if candidate != "sofa":  # the query, or what was bought
            assert "- sofa\n" in text, "a candidate behind what was bought"
            return own[candidate]
        return next(weight for item, weight in liked.items() if f"- {item}\n" in text or f"Product: {item}\n" in text)

    liking = Liking(weigh)
    docs = [doc("query_product_ranking", FIELDS), doc("also_buy", FIELDS)]
    found = backend(liking, tmp_path, "text").greedy_until(docs)
    assert [response.text[0] for response in found] == ["3,5,2,1,4", "4,2,3,1"]
    assert not any("yes or no" in one.prompt.plain for one in liking.asked)


def test_other_rows_are_scored_in_words_where_lists_are_by_text(tmp_path: Path) -> None:
    liking = Liking(lambda text, candidate: -1.0 if candidate == "complement" else -2.0)
    row = doc("query_product_relation", {**FIELDS, "options": statements("query_product_relation")})
    assert backend(liking, tmp_path, "text").greedy_until([row])[0].text == ["2"]


def test_an_unknown_way_to_score_lists_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        backend(Liking(max), tmp_path, "letters")
    assert "lists must be words or text, not 'letters'" in capsys.readouterr().err


def statements(name: str) -> list[str]:
    form = TASKS[name].words
    assert form
    return list(form.statements)


def test_a_choice_is_asked_in_words_and_answered_by_its_number(tmp_path: Path) -> None:
    liking = Liking(lambda text, candidate: -1.0 if candidate == "complement" else -2.0)
    options = statements("query_product_relation")
    shuffled = [options[place] for place in (3, 2, 0, 1)]
    (response,) = backend(liking, tmp_path).greedy_until([doc("query_product_relation", {**FIELDS, "options": shuffled})])
    assert response.text == ["1"]
    assert "0." not in liking.asked[0].prompt.plain


def test_a_prompt_of_no_template_is_told(tmp_path: Path) -> None:
    strange = replace(doc("also_buy", FIELDS), query="What else?")
    with pytest.raises(UserError, match="A row of also_buy fits none of its templates"):
        scored_rows([strange])


def test_examples_in_the_prompt_are_refused() -> None:
    one = doc("also_buy", FIELDS)
    with pytest.raises(UserError, match="take no examples in the prompt; give"):
        scored_rows([replace(one, fewshot_samples=[one])])
    text = doc("query_generation", FIELDS)
    assert scored_rows([replace(text, fewshot_samples=[text])]) == {}


def shopbench(number: int, right: int) -> Doc:
    options = "\n".join(f"{place}. option {'right' if place == right else number * 10 + place}" for place in range(4))
    row = {
        "task": "task1",
        "task_type": "multiple-choice",
        "metric": "accuracy",
        "prompt": f"Question {number}?\n{options}\nAnswer: ",
        "truth": right,
    }
    return Doc(
        query=row["prompt"], choices=["?"], gold_index=0, task_name="shopbench:task1|0", specific={"row": json.dumps(row)}
    )


def test_the_preference_for_a_number_is_taken_off(tmp_path: Path) -> None:
    """A model that knows the right option somewhat, and likes the number 2 more than anything."""

    def weigh(text: str, candidate: str) -> float:
        return (1.0 if "right" in numbered_items(text)[int(candidate)] else 0.0) + (5.0 if candidate == "2" else 0.0)

    rng = random.Random(0)
    rights = [rng.randrange(4) for _ in range(60)]
    liking = Liking(weigh)
    found = backend(liking, tmp_path).greedy_until([shopbench(number, right) for number, right in enumerate(rights)])
    assert [response.text[0] for response in found] == [str(right) for right in rights]
    assert len(liking.asked) == 60 + PRIOR_ROWS * 3, "only some rows are asked in other orders"


def test_items_of_a_list_move_round_and_nothing_else_does() -> None:
    prompt = "1. a rule\nWhich?\n0. red\n1. blue\n2. green\nAnswer: "
    assert rotated_items(prompt, 1) == "1. a rule\nWhich?\n0. green\n1. red\n2. blue\nAnswer: "
    assert rotated_items(prompt, 3) == prompt
    assert rotated_items("lid (1)\njar (2)\nOutput: ", 1) == "jar (1)\nlid (2)\nOutput: "
    assert rotated_items("no list", 1) == "no list"


def test_a_prompt_without_its_list_keeps_everything_else() -> None:
    prompt = "1. a rule\nWhich?\n0. red\n1. blue\n2. green\nAnswer: "
    assert without_items(prompt) == "1. a rule\nWhich?\nAnswer: "
    assert without_items("0. red\n1. blue\nWhich?") == "\nWhich?"
    assert without_items("Which?\nlid (1)\njar (2)\nOutput: ") == "Which?\nOutput: "
    assert without_items("no list") == "no list"


def listed(task_type: str, truth: Any, items: Sequence[str], first: int) -> Doc:
    metric = {"retrieval": "hit rate@3", "ranking": "ndcg", "multiple-choice": "accuracy"}[task_type]
    lines = "\n".join(f"{number}. {item}" for number, item in enumerate(items, first))
    row = {
        "task": "task1",
        "task_type": task_type,
        "metric": metric,
        "prompt": f"What goes with a kettle?\n{lines}\nOutput: ",
        "truth": truth,
    }
    return Doc(
        query=row["prompt"], choices=["?"], gold_index=0, task_name="shopbench:task1|0", specific={"row": json.dumps(row)}
    )


@pytest.mark.parametrize(
    ("task_type", "truth", "first", "answer"),
    [
        ("retrieval", [2, 4], 1, "4,2,5"),
        ("ranking", [0, 1.0, 0.1, 1.0, 0], 1, "4,2,5,1,3"),
        ("multiple-choice", 3, 0, "3"),
    ],
)
def test_other_lists_by_text_are_sorted_by_how_much_likelier_the_prompt_makes_an_item(
    task_type: str, truth: Any, first: int, answer: str, tmp_path: Path
) -> None:
    """A model that likes short words, and knows what goes with a kettle."""
    fits = {"a bread bin": 1, "tea cups": 5, "a": 0, "a teapot": 6, "socks": 2}

    def weigh(text: str, candidate: str) -> float:
        assert "tea cups" not in text, "the list is not shown"
        return -10.0 * len(candidate) + (fits[candidate] if "kettle" in text else 0)

    one = listed(task_type, truth, list(fits), first)
    (found,) = backend(Liking(weigh), tmp_path, "text").greedy_until([one])
    assert found.text[0] == answer


def test_an_item_without_a_text_is_scored_by_no_text() -> None:
    assert scored_rows([listed("retrieval", [1], ["a", "", "b"], 1)], "text") == {}


def test_likelihoods_of_lightevals_own_tasks_are_given(tmp_path: Path) -> None:
    liking = Liking(lambda text, candidate: -float(len(candidate)))
    one = Doc(query="A lamp is", choices=[" red", " green"], gold_index=0, task_name="any|0")
    (response,) = backend(liking, tmp_path).loglikelihood([one])
    assert response.logprobs == [-4.0, -6.0]
