"""Family, place and reading of every task, from its name."""

import json
import random
from pathlib import Path

import pytest

from common.tasks import FAMILIES, TASKS
from eval_tasks.suites import ecinstruct_scoring
from eval_tasks.suites.suite import SHOP, SUITES, UNSEEN, Suite, family, place, shown_answer, task_title


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("shop:review_rating", "multiple_choice"),
        ("shop:also_buy|0", "retrieval"),
        ("shop:_average|0", "other"),
        ("shop:no_such_task", "other"),
        ("shopbench:task1|0", "concepts"),
        ("shopbench:task7", "concepts"),
        ("shopbench:task8", "reasoning"),
        ("shopbench:task15", "behavior"),
        ("shopbench:task16", "languages"),
        ("shopbench:task18", "languages"),
        ("shopbench:task19", "other"),
        ("shopbench:warm_up", "other"),
        ("shopbench:task²", "other"),
        ("ecinstruct:product_matching|0", "in-domain"),
        ("ecinstruct:product_matching_ood|0", "out-of-domain"),
        ("ecinstruct:query_rewriting", "other"),
        ("shopping_mmlu:concept:asin_compatibility|0", "shopping concept understanding"),
        ("shopping_mmlu:multilingual:title|0", "multilingual abilities"),
        ("shopping_mmlu:other:title|0", "other"),
        ("gsm8k|0", "other"),
        ("all", "other"),
    ],
)
def test_a_task_is_averaged_with_its_family(task: str, expected: str) -> None:
    assert family(task) == expected


def test_tasks_are_placed_in_the_order_of_their_declaration_and_unknown_ones_last() -> None:
    shop = [f"shop:{task.name}" for kind in FAMILIES for task in TASKS.values() if task.family == kind]
    shopbench = [f"shopbench:task{number}" for number in range(1, 19)]
    ecinstruct = [f"ecinstruct:{name}{ood}" for ood in ("", "_ood") for name in ecinstruct_scoring.TASKS]
    mmlu = [
        f"shopping_mmlu:{name}" for name in ("concept:a", "concept:b", "reasoning:a", "behavior:a", "multilingual:a", "other:a")
    ]
    known = [*shop, "shop:another", *shopbench, "shopbench:another", "shopbench:other", *ecinstruct, *mmlu]
    expected = [*known, "arc", "gsm8k"]
    mixed = random.Random(0).sample(expected, len(expected))

    assert sorted(mixed, key=place) == expected


@pytest.mark.parametrize(
    ("task", "text", "shown"),
    [
        ("shop:review_rating|0", "4 stars", "4"),
        ("shop:review_rating|0", "four stars", None),
        ("shop:query_product_ranking|0", "2, 1, 3, 4, 5", "2,1,3,4,5"),
        ("shop:also_buy|0", "3, 3, 7", "3,7"),
        ("shop:query_generation|0", "red shoes\nand more", "red shoes"),
        ("shop:query_generation|0", "\n", None),
    ],
)
def test_an_answer_is_shown_as_the_shops_parser_reads_it(task: str, text: str, shown: str | None) -> None:
    assert shown_answer(task, text, {}) == shown


@pytest.mark.parametrize(
    ("task_type", "text", "shown"),
    [
        ("multiple-choice", " 2", "2"),
        ("multiple-choice", "\n2", None),
        ("retrieval", "[1, 4, 6]", "4"),
        ("ranking", "0,2", "3,2"),
        ("named_entity_recognition", "Brass, lamp\nbulb", "brass,lamp"),
        ("generation", " ", None),
    ],
)
def test_an_answer_is_shown_as_shopping_mmlus_script_reads_it(task_type: str, text: str, shown: str | None) -> None:
    row = {"prompt": "?", "truth": [1, 0, 0], "task": "concept:a", "task_type": task_type, "metric": ""}

    assert shown_answer("shopping_mmlu:concept:a|0", text, {"row": json.dumps(row)}) == shown


@pytest.mark.parametrize(
    ("task_type", "text", "shown"),
    [
        ("multiple-choice", "0. green", "0"),
        ("multiple-choice", "Answer: 0", None),
        ("ranking", "1,2,2", None),
        ("retrieval", "1, 6, 2, 4", "1,6,2"),
        ("retrieval", "", None),
        ("named_entity_recognition", "brass, lamp", "brass,lamp"),
        ("generation", " a bulb ", "a bulb"),
        ("generation", " ", None),
    ],
)
def test_an_answer_is_shown_as_shopbenchs_parser_reads_it(task_type: str, text: str, shown: str | None) -> None:
    row = {"prompt": "?", "truth": None, "task": "task1", "task_type": task_type, "metric": ""}

    assert shown_answer("shopbench:task1|0", text, {"row": json.dumps(row)}) == shown


@pytest.mark.parametrize(
    ("task", "text", "shown"),
    [
        ("product_matching", " Yes ", "yes"),
        ("product_matching", "Yes, they are.", None),
        ("query_product_rank_ood", "B,A,x", "B,A"),
        ("attribute_value_extraction", ' [{"attribute": "a"}]', '[{"attribute": "a"}]'),
        ("attribute_value_extraction", "[]", "[]"),
        ("attribute_value_extraction", "a", None),
        ("answer_generation", " It is.\nSo ", "It is.\nSo"),
    ],
)
def test_an_answer_is_shown_as_ecellms_script_reads_it(task: str, text: str, shown: str | None) -> None:
    row = ecinstruct_scoring.EcinstructRow(task.removesuffix("_ood"), "?", "A,B", letters="AB", gains=(1.0, 0.1))

    assert shown_answer(f"ecinstruct:{task}|0", text, {"row": json.dumps(vars(row))}) == shown


def test_a_suite_that_is_unknown_cannot_be_read() -> None:
    with pytest.raises(KeyError, match="gsm8k"):
        shown_answer("gsm8k|0", "4", {})


def test_a_task_is_called_by_its_title_or_its_name_without_the_suites() -> None:
    assert task_title("shop:also_buy|0") == TASKS["also_buy"].title
    assert task_title("ecinstruct:product_matching_ood") == "product matching ood"
    assert task_title("gsm8k") == "gsm8k"


@pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))
def test_a_suites_rows_and_tasks_are_lightevals(suite: Suite) -> None:
    """The file that lighteval is given has the suite's name, and reads its variable. Unseen wordings are in that of `shop`."""
    name = SHOP if suite.name == UNSEEN else suite.name
    file = Path(__file__).parents[3] / "eval_tasks" / f"{name}.py"
    assert f'SUITES["{name}"]' in file.read_text(encoding="utf-8")
    assert suite.variable in file.read_text(encoding="utf-8")
    assert not suite.is_task("_average")
