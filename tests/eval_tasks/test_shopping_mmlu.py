"""Shopping MMLU: rows in both of its layouts, what is left out, its scripts' rules case by case, and one real run."""

import csv
import json
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_tasks.metrics.shopbench import TASK_TYPES, says_nothing
from eval_tasks.metrics.task_scores import task_score
from eval_tasks.suites.shopbench_rows import ShopBenchRow, pattern, right_answer
from eval_tasks.suites.shopbench_scoring import plain_scores, score_parsed
from eval_tasks.suites.shopping_mmlu_rows import INSTRUCTION, read_rows
from eval_tasks.suites.shopping_mmlu_scoring import parse_answer
from tests.eval_tasks.conftest import Lighteval, load_tasks
from tests.eval_tasks.rows import write_lines

CASES = json.loads((Path(__file__).parent / "cases" / "shopping_mmlu.json").read_text(encoding="utf-8"))

NUMBERED = "\n".join(f"{number}. snippet {number}" for number in range(1, 16))
SKILL_ROWS = {
    "skill1_concept": [
        ("asin_compatibility", "multiple-choice", "accuracy", 3, "Which fits?\n0. a\n1. b\n2. c\n3. d\nAnswer: "),
        (
            "query_named_entity_recognition",
            "named_entity_recognition",
            "micro f1",
            ["Brass", "lamp"],
            "Entities of: brass lamp",
        ),
        ("review_snippet_retrieval", "retrieval", "hit rate@3", [2, 4, 15], f"Select 3.\n{NUMBERED}\nOutput: "),
        ("aspect_extraction", "generation", "rougel", "very bright", "Which phrase tells the light?\nOutput: "),
    ],
    "skill2_reasoning": [
        ("unit_conversion", "multiple-choice", "accuracy", 0, "5 cm are?\n0. 50 mm\n1. 5 mm\n2. 5 m\n3. 5 km\nAnswer: "),
        ("unit_conversion", "multiple-choice", "accuracy", 1, "5 kg are?\n0. 5 mg\n1. 5000 g\n2. 50 g\n3. 5 t\nAnswer: "),
    ],
    "skill3_behavior": [
        ("query_product_ranking", "ranking", "ndcg", [0, 1, 0.1, 0.01, 0.1], "Rank products 1 to 5 for: lamp\nOutput: "),
        ("review_rating", "multiple-choice", "accuracy", 5, "On a scale of 1 to 5: It shines.\nAnswer: "),
    ],
    "skill4_multilingual": [
        ("title_translation", "generation", "bleu", "Eine Lampe aus Messing mit Schalter", "Title in German: brass lamp"),
        ("title_translation_JP", "generation", "jp-bleu", "これは真鍮のランプです", "Title in Japanese: brass lamp"),
    ],
}
TASKS = {
    "concept:asin_compatibility": "accuracy",
    "concept:query_named_entity_recognition": "micro f1",
    "concept:review_snippet_retrieval": "hit rate@3",
    "concept:aspect_extraction": "rougel",
    "reasoning:unit_conversion": "accuracy",
    "behavior:query_product_ranking": "ndcg",
    "behavior:review_rating": "accuracy",
    "multilingual:title_translation": "bleu",
    "multilingual:title_translation_JP": "jp-bleu",
}


def record(task: str, task_type: str, metric: str, truth: Any, prompt: str) -> dict[str, Any]:
    return {"input_field": prompt, "output_field": truth, "task_name": task, "task_type": task_type, "metric": metric}


def write_skills(folder: Path) -> Path:
    """data/skills as data.zip has it."""
    (folder / "skills").mkdir(parents=True)
    for skill, rows in SKILL_ROWS.items():
        write_lines(folder / "skills" / f"{skill}.json", [record(*row) for row in rows])
    return folder


def write_choices(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["question", "choices", "answer"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def choice(answer: Any, choices: Any = ("toy figure", "DV, recorder", "it's", 'a "hair" iron')) -> dict[str, Any]:
    return {"question": "Which complements a game?", "choices": str(list(choices)), "answer": answer}


def write_targets(path: Path, *rows: tuple[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_lines(path, [{"input_field": prompt, "target_field": truth} for prompt, truth in rows])


def rows_of(path: Path) -> tuple[dict[str, list[ShopBenchRow]], list[str]]:
    """The rows, and what was told to be left out."""
    told: list[str] = []
    return read_rows(path, lambda what, reason: told.append(f"{what}: {reason}")), told


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_skills(tmp_path_factory.mktemp("mmlu") / "data")


# --- Rows ---


def test_the_files_of_skills_give_their_tasks_in_the_order_of_the_skills(data: Path) -> None:
    rows, told = rows_of(data)

    assert {name: own[0].metric for name, own in rows.items()} == TASKS
    assert list(rows) == list(TASKS)
    assert len(rows["reasoning:unit_conversion"]) == 2
    assert all(row.prompt.startswith(INSTRUCTION) for own in rows.values() for row in own)
    assert told == []


@pytest.mark.parametrize("name", TASKS)
def test_gold_scores_1_and_matches_its_pattern_and_noise_scores_0(name: str, data: Path) -> None:
    rows = rows_of(data)[0][name]

    for texts, score in (([right_answer(row) for row in rows], 1), (["###"] * len(rows), 0)):
        assert task_score(TASKS[name], score_answers(rows, texts)) == pytest.approx(score)
    for row in rows:
        assert not pattern(row) or re.fullmatch(pattern(row), right_answer(row))


def test_patterns_are_made_for_what_the_prompts_list(data: Path) -> None:
    rows = rows_of(data)[0]

    assert pattern(rows["concept:asin_compatibility"][0]) == "0|1|2|3"
    assert pattern(rows["behavior:review_rating"][0]) == "1|2|3|4|5"
    assert re.fullmatch(pattern(rows["behavior:query_product_ranking"][0]), "5,4,3,2,1")
    assert not re.fullmatch(pattern(rows["behavior:query_product_ranking"][0]), "5,4,3,2,2")
    assert re.fullmatch(pattern(rows["concept:review_snippet_retrieval"][0]), "15,1,10")
    assert not re.fullmatch(pattern(rows["concept:review_snippet_retrieval"][0]), "16,1,10")
    assert pattern(rows["concept:aspect_extraction"][0]) == ""


def test_files_of_single_tasks_give_the_metric_by_their_folder_and_name(tmp_path: Path) -> None:
    write_choices(tmp_path / "multiple_choice" / "asin_compatibility_dataset.csv", [choice(1), choice("2.0")])
    write_choices(
        tmp_path / "multiple_choice" / "review_rating_prediction_dataset.csv",
        [{"question": "Rate this on a scale of 1 to 5: Bright.", "choices": "", "answer": 5}],
    )
    write_targets(tmp_path / "retrieval" / "product_keyphrase_retrieval_dataset.json", (f"Pick.\n{NUMBERED}", [1, 2, 3]))
    write_targets(tmp_path / "ranking" / "query_product_ranking_dataset.json", ("Rank.", [1, 0.1, 0, 0, 0]))
    write_targets(tmp_path / "named_entity_recognition" / "query_named_entity_recognition_dataset.json", ("?", ["lamp"]))
    write_targets(tmp_path / "generation" / "aspect_extraction_dataset.json", ("?", "bright"))
    write_targets(tmp_path / "generation" / "title_translation_JP_dataset.json", ("?", "ランプ"))
    write_targets(tmp_path / "generation" / "title_translation_DE_dataset.json", ("?", "Lampe"))

    rows, told = rows_of(tmp_path)

    assert {name: own[0].metric for name, own in rows.items()} == {
        "other:aspect_extraction": "rougel",
        "other:title_translation_DE": "bleu",
        "other:title_translation_JP": "jp-bleu",
        "other:asin_compatibility": "accuracy",
        "other:review_rating_prediction": "accuracy",
        "other:query_named_entity_recognition": "micro f1",
        "other:query_product_ranking": "ndcg",
        "other:product_keyphrase_retrieval": "hit rate@3",
    }
    assert told == []
    first, second = rows["other:asin_compatibility"]
    asked = 'Which complements a game?\n0. toy figure\n1. DV, recorder\n2. it\'s\n3. a "hair" iron\nAnswer: '
    assert first == ShopBenchRow(INSTRUCTION + asked, 1, "other:asin_compatibility", "multiple-choice", "accuracy")
    assert second.truth == 2
    rating = rows["other:review_rating_prediction"][0]
    assert rating.prompt == f"{INSTRUCTION}Rate this on a scale of 1 to 5: Bright.\nAnswer: "
    assert (rating.truth, pattern(rating)) == (5, "1|2|3|4|5")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("skill1_concept/a_dataset.csv", "concept:a"),
        ("skill_2/a.csv", "reasoning:a"),
        ("user_behavior_alignment/multiple_choice/a_dataset.csv", "behavior:a"),
        ("Multilingual/a.csv", "multilingual:a"),
        ("multiple_choice/multilingual_a_dataset.csv", "multilingual:multilingual_a"),
        ("multiple_choice/product_reasoning_dataset.csv", "other:product_reasoning"),
        ("skill5/a b,c|d.csv", "other:a_b_c_d"),
    ],
)
def test_a_folders_name_tells_the_skill(path: str, name: str, tmp_path: Path) -> None:
    write_choices(tmp_path / "data" / path, [choice(0)])

    assert list(rows_of(tmp_path / "data")[0]) == [name]


def test_where_whole_skills_are_there_the_files_of_single_tasks_are_not_read(tmp_path: Path) -> None:
    write_skills(tmp_path)
    write_choices(tmp_path / "multiple_choice" / "asin_compatibility_dataset.csv", [choice(0)])

    rows, told = rows_of(tmp_path)

    assert list(rows) == list(TASKS)
    assert told == [f"what else is in {tmp_path}: {tmp_path}/skills/skill1_concept.json and its like hold all tasks"]


GOOD = record("good", "multiple-choice", "accuracy", 1, "Which?\n0. a\n1. b\nAnswer: ")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (GOOD | {"metric": "F1"}, "its metric 'F1' is unknown; known are accuracy"),
        (GOOD | {"metric": "F1", "task_type": "essay"}, "its task_type 'essay' is unknown"),
        (GOOD | {"metric": ["accuracy"]}, 'line 2: "metric" must be a string'),
        (GOOD | {"output_field": "b"}, "line 2: \"output_field\" 'b' is no JSON; multiple-choice needs a number"),
        (GOOD | {"metric": "ndcg", "output_field": []}, 'line 2: "output_field" is an empty list; ndcg needs'),
        (GOOD | {"input_field": ""}, 'line 2: no "input_field", so there is nothing to ask'),
        (GOOD | {"metric": None}, "no folder above it is called multiple_choice, retrieval, ranking"),
    ],
)
def test_a_task_that_cannot_be_scored_is_told_and_left_out(bad: dict[str, Any], reason: str, tmp_path: Path) -> None:
    (tmp_path / "skills").mkdir()
    write_lines(tmp_path / "skills" / "skill2_reasoning.json", [GOOD, bad | {"task_name": "bad"}])

    rows, (told,) = rows_of(tmp_path)

    assert list(rows) == ["reasoning:good"]
    assert told.startswith("shopping_mmlu:reasoning:bad: ")
    assert reason in told


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (choice(4), "row 2: the answer 4 is none of the choices"),
        (choice(1.5), "row 2: the answer 1.5 is none of the choices"),
        (choice(""), 'row 2: "answer" must be a number and "choices" a list'),
        (choice(0) | {"choices": "[1, 2"}, 'row 2: "answer" must be a number and "choices" a list'),
        (choice(0) | {"choices": "3"}, "row 2: the answer 0 is none of the choices '3'"),
        (choice(0) | {"choices": "[" * 9000}, 'row 2: "answer" must be a number and "choices" a list'),
        (choice(0) | {"question": ""}, 'row 2: no "question", so there is nothing to ask'),
    ],
)
def test_a_task_with_a_wrong_gold_is_told_and_left_out(row: dict[str, Any], reason: str, tmp_path: Path) -> None:
    write_choices(tmp_path / "multiple_choice" / "a_dataset.csv", [choice(0), row])
    write_choices(tmp_path / "multiple_choice" / "b_dataset.csv", [choice(0)])

    rows, (told,) = rows_of(tmp_path)

    assert list(rows) == ["other:b"]
    assert reason in told


def test_unknown_files_are_told_and_left_out(tmp_path: Path) -> None:
    write_choices(tmp_path / "multiple_choice" / "a_dataset.csv", [choice(0)])
    write_lines(tmp_path / "leaderboard.json", [{"model": "x", "score": 1}])
    (tmp_path / "broken.json").write_text("{")
    write_targets(tmp_path / "generation" / "a_dataset.json", ("?", "bright"))

    rows, told = rows_of(tmp_path)

    assert list(rows) == ["other:a"]
    assert [line.partition(": ")[0] for line in told] == [
        f"{tmp_path}/broken.json",
        "shopping_mmlu:other:leaderboard",
        f"shopping_mmlu:other:a of {tmp_path}/multiple_choice/a_dataset.csv",
    ]


# --- Scores ---


def score_answers(rows: list[ShopBenchRow], texts: list[str]) -> list[float | list[float]]:
    return plain_scores(score_parsed(rows, [parse_answer(row, text) for row, text in zip(rows, texts, strict=True)]))


def row_of(metric: str, truth: Any) -> ShopBenchRow:
    return ShopBenchRow("?", truth, "other:a", TASK_TYPES[metric], metric)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_an_answer_is_read_and_scored_as_worked_out_by_hand(case: dict[str, Any]) -> None:
    row = row_of(case["metric"], case["truth"])

    assert parse_answer(row, case["text"]) == case["read"]
    assert score_answers([row], [case["text"]]) == [pytest.approx(case["score"], abs=1e-12)]


def test_cases_cover_every_metric_but_the_embedding_ones() -> None:
    assert {case["metric"] for case in CASES} == {metric for metric in TASK_TYPES if "transformer" not in metric}


TEXTS = st.text() | st.text(alphabet="0123456789-, \n.", max_size=40)


@given(text=TEXTS, truth=st.lists(st.integers(1, 15), min_size=1, unique=True))
def test_hits_are_those_of_the_benchmarks_script(text: str, truth: list[int]) -> None:
    picks = []
    for piece in text.strip().split(","):
        try:
            picks.append(int(piece))
        except ValueError:
            continue

    assert score_answers([row_of("hit rate@3", truth)], [text]) == [len(set(truth) & set(picks[:3])) / len(truth)]


@given(
    order=st.lists(st.integers(1, 7), unique=True, max_size=7),
    weights=st.lists(st.sampled_from([0, 0.01, 0.1, 1.0]), min_size=1, max_size=6),
)
def test_ndcg_of_distinct_numbers_is_that_of_the_benchmarks_script(order: list[int], weights: list[float]) -> None:
    def discounted(gains: list[float]) -> float:
        return sum((2**gain - 1) / math.log2(place + 1) for place, gain in enumerate(gains, start=1))

    gains = [weights[number - 1] if number - 1 < len(weights) else 0 for number in order[: len(weights)]]
    ideal = discounted(sorted(weights, reverse=True))
    expected = discounted(gains) / ideal if ideal else 0

    assert score_answers([row_of("ndcg", weights)], [",".join(map(str, order))]) == [pytest.approx(expected)]


ROWS = [
    row_of("accuracy", 1),
    row_of("hit rate@3", [1, 4]),
    row_of("ndcg", [1, 0.1, 0, 0, 0.01]),
    row_of("micro f1", ["brass", "lamp"]),
    row_of("rougel", "a brass lamp"),
    row_of("bleu", "a brass lamp with a switch"),
    row_of("jp-bleu", "これは真鍮のランプです"),
]
by_metric = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.metric)


@by_metric
@given(text=TEXTS)
def test_no_text_makes_scoring_raise_and_no_score_leaves_0_to_1(row: ShopBenchRow, text: str) -> None:
    assert 0 <= task_score(row.metric, score_answers([row], [text])) <= 1 + 1e-12


@by_metric
@pytest.mark.parametrize(
    "text",
    ["", "\0" * 9, "\x1b[31m\x07\x7f\u200b", "x " * 50_000, "9" * 100_000, "[" * 100_000],
    ids=["empty", "null", "control", "words", "digits", "brackets"],
)
def test_garbage_scores_0_within_a_second(row: ShopBenchRow, text: str) -> None:
    score_answers([row], ["warm up"])  # tokenizers are loaded once
    start = time.process_time()

    assert task_score(row.metric, score_answers([row], [text])) == 0

    assert time.process_time() - start < 1


@by_metric
@given(data=st.data())
def test_what_a_pattern_allows_can_be_read(row: ShopBenchRow, data: st.DataObject) -> None:
    asked = ShopBenchRow(
        f"Choose.\n{NUMBERED}" if row.metric == "hit rate@3" else "0. a\n1. b", row.truth, "a", row.task_type, row.metric
    )
    if pattern(asked):
        assert not says_nothing(parse_answer(asked, data.draw(st.from_regex(pattern(asked), fullmatch=True))))


# --- lighteval ---


def test_gold_answers_score_1_inside_lighteval(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lighteval.metrics import apply_metric
    from lighteval.models.model_output import ModelResponse
    from lighteval.tasks.lighteval_task import LightevalTask

    table = load_tasks("shopping_mmlu", monkeypatch, tmp_path, SHOPPING_MMLU_DATA=str(data)).TASKS_TABLE

    assert [config.name for config in table] == [f"shopping_mmlu:{name}" for name in TASKS]
    for config in table:
        docs = LightevalTask(config).get_docs()
        values = apply_metric([ModelResponse(text=[doc.get_golds()[0]]) for doc in docs], docs, config.metrics)
        score = config.metrics[0].corpus_level_fn([row["score"] for row in values])
        assert score == {"score": pytest.approx(1)}
        assert {row["unparsable"] for row in values} == {0.0}


def test_one_skill_can_be_declared_alone(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = load_tasks(
        "shopping_mmlu", monkeypatch, tmp_path, SHOPPING_MMLU_DATA=str(data), SHOPPING_MMLU_SKILLS="behavior, reasoning"
    ).TASKS_TABLE

    assert [config.name.split(":")[1] for config in tasks] == ["reasoning", "behavior", "behavior"]


def test_a_run_of_the_console_script_scores_every_task(lighteval: Lighteval, model: Path, data: Path, tmp_path: Path) -> None:
    done = lighteval(
        "accelerate",
        f"model_name={model},batch_size=8",
        "shopping_mmlu|0",
        "--custom-tasks",
        "eval_tasks/shopping_mmlu.py",
        "--output-dir",
        str(tmp_path),
        SHOPPING_MMLU_DATA=str(data),
    )

    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = tmp_path.rglob("results_*.json")
    content = json.loads(file.read_text(), parse_constant=pytest.fail)
    names = {f"shopping_mmlu:{name}|0": metric for name, metric in TASKS.items()}
    assert set(content["results"]) == {*names, "shopping_mmlu:_average|0", "all"}
    for name, metric in names.items():
        assert content["results"][name].keys() >= {"score", "unparsable"}
        assert content["config_tasks"][name]["metrics"][0]["official_name"] == metric


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "SHOPPING_MMLU_DATA is not set; set it to the folder"),
        ({"SHOPPING_MMLU_DATA": "org/none", "SHOPPING_MMLU_REVISION": "v1"}, "cannot be had from the Hub at revision v1 ("),
        ({"SHOPPING_MMLU_DATA": "DATA", "SHOPPING_MMLU_SKILLS": "maths"}, "'maths' is no skill; they are concept, reasoning,"),
        ({"SHOPPING_MMLU_DATA": "DATA", "SHOPPING_MMLU_SKILLS": "other"}, "there is no shopping_mmlu task in it"),
        ({"SHOPPING_MMLU_DATA": "EMPTY"}, "there is no shopping_mmlu task in it"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_sentence(
    environment: dict[str, str],
    sentence: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = {"DATA": str(data), "EMPTY": str(tmp_path)}

    with pytest.raises(SystemExit) as stopped:
        load_tasks(
            "shopping_mmlu", monkeypatch, tmp_path, **{name: folders.get(text, text) for name, text in environment.items()}
        )

    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert sentence in error
