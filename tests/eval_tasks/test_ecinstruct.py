"""ECInstruct: rows in every published layout, the paper's rules case by case and against scikit-learn, and one real run."""

import json
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from eval_tasks.metrics.task_scores import AGGREGATES, task_score
from eval_tasks.suites.ecinstruct_rows import read_rows
from eval_tasks.suites.ecinstruct_scoring import BY_PLACE, GAINS, TASKS, EcinstructRow, parse_answer, pattern, value
from eval_tasks.suites.suite import shown_answer
from tests.eval_tasks.conftest import Lighteval, load_tasks

CASES = json.loads((Path(__file__).parent / "cases" / "ecinstruct.json").read_text(encoding="utf-8"))

RELATIONS = ["A: Users who buy product 1 may also buy product 2.", "B: Users who view both.", "C: They are similar."]
SENTIMENTS = ["A: very positive", "B: positive", "C: neutral", "D: negative", "E: very negative"]
CLASSES = ["A: The product is relevant.", "B: A substitute.", "C: A complement.", "D: The product is irrelevant."]
PRODUCTS = [f"{letter}: lamp {letter}" for letter in "ABCDEFGHIJKLMNOPQRST"]
ITEMS = [
    {"attribute": "colour", "value": "dark red", "source": "product title"},
    {"attribute": "brand", "value": "None", "source": "None"},
    {"attribute": "size", "value": '5" é', "source": "product feature"},
]

RECORDS: list[tuple[str, Any, Any, str]] = [
    ("Attribute_Value_Extraction", {"product title": "dark red lamp", "target attributes": "colour and brand"}, None, ""),
    ("Product_Relation_Prediction", {"Product 1:": "lamp", "Product 2:": "bulb"}, RELATIONS, "A"),
    ("Product_Relation_Prediction", {"Product 1:": "lamp", "Product 2:": "teapot"}, RELATIONS, "C"),
    ("Product_Matching", {"product 1": {"title": "lamp"}, "product 2": {"title": "lamp"}}, None, "yes"),
    ("Product_Matching", {"product 1": {"title": "lamp"}, "product 2": {"title": "bulb"}}, None, "no"),
    ("Sentiment_Analysis", "It broke after a week.", SENTIMENTS, SENTIMENTS[4]),
    ("Sentiment_Analysis", "Bright and warm.", SENTIMENTS, SENTIMENTS[0]),
    ("Sequential_Recommendation", str(["1st: bulb", "2nd: shade"]), str(PRODUCTS), "T"),
    ("Multiclass_Product_Classification", {"query": "lamp", "product title": "bulb"}, CLASSES, CLASSES[2]),
    ("Product_Substitute_Identification", {"query": "lamp", "product": "torch"}, None, "yes"),
    ("Query_Product_Rank", {"query": "lamp", "product list": ["A: bulb", "B: lamp"]}, None, "B,A"),
    ("Query_Product_Rank", {"query": "lamp", "product list": PRODUCTS[:4]}, None, "D,A,C,B"),
    ("Answerability_Prediction", {"question": "Is a bulb in the box?", "document": ["The bulb was in the box."]}, None, "yes"),
    (
        "Answer_Generation",
        {"question": "Is a bulb in the box?", "document": ["The bulb was in the box."]},
        None,
        "Yes, one is.",
    ),
]


def records(setting: str = "IND_Diverse_Instruction", split: str = "test") -> list[dict[str, Any]]:
    """Rows as the Hub's file has them: every value a string or null."""
    made = []
    for task, fields, options, output in RECORDS:
        made.append(
            {
                "instruction": f"Do what {task} asks for.",
                "input": fields if isinstance(fields, str) else json.dumps(fields),
                "options": options if options is None or isinstance(options, str) else json.dumps(options),
                "output": output or json.dumps(ITEMS),
                "few_shot_example": None,
                "task": task,
                "split": split,
                "setting": setting,
            }
        )
    return made


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def rows_of(path: Path, instructions: str = "Diverse") -> tuple[dict[str, list[EcinstructRow]], list[str]]:
    """The rows, and what was told to be left out."""
    told: list[str] = []
    return read_rows(path, instructions, lambda what, reason: told.append(f"{what}: {reason}")), told


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the Hub has it: both domains, and rows of other settings and splits, which are not asked."""
    settings = (
        "IND_Diverse_Instruction",
        "OOD_Diverse_Instruction",
        "IND_Diverse_Instruction_1-shot",
        "OOD_Single_Instruction",
    )
    rows = [row for setting in settings for row in records(setting)]
    others = [row for split in ("train", "val") for row in records(split=split)]
    return write(tmp_path_factory.mktemp("ecinstruct") / "ECInstruct.json", others + rows)


# --- Rows ---


def test_all_ten_tasks_of_both_domains_are_read_from_the_published_file(published: Path) -> None:
    rows, told = rows_of(published)

    assert list(rows) == [*TASKS, *(f"{name}_ood" for name in TASKS)]
    assert [len(own) for own in rows.values()] == [1, 2, 2, 2, 1, 1, 1, 2, 1, 1] * 2
    assert {own[0].out_of_domain for name, own in rows.items() if name.endswith("_ood")} == {True}
    assert told == []


def test_other_wordings_of_the_instructions_are_rows_of_their_own(published: Path) -> None:
    rows, _ = rows_of(published, "Single")

    assert list(rows) == [f"{name}_ood" for name in TASKS]


@pytest.mark.parametrize("name", [f"{name}{ood}" for name in TASKS for ood in ("", "_ood")])
def test_gold_scores_1_and_matches_its_pattern_and_noise_scores_0(name: str, published: Path) -> None:
    rows = rows_of(published)[0][name]
    metric = TASKS[rows[0].task].metric

    for strict in (False, True):
        assert task_score(metric, [value(row, row.output, strict) for row in rows]) == 1
        assert task_score(metric, [value(row, "###", strict) for row in rows]) == 0
    for row in rows:
        assert re.fullmatch(pattern(row), row.output) or TASKS[row.task].form == "text"


def test_options_make_no_difference_between_the_published_rows_and_those_folded_into_the_input(tmp_path: Path) -> None:
    plain = records()[8]
    folded = {key: plain[key] for key in ("instruction", "output")} | {
        "input": f"{plain['input']}\noptions: {plain['options']}"
    }
    own = rows_of(write(tmp_path / "full.json", [plain]))[0]["multiclass_product_classification"][0]
    other = rows_of(write(tmp_path / "Multiclass_Product_Classification.json", [folded]))[0]
    other_row = other["multiclass_product_classification"][0]

    assert own.letters == other_row.letters == "ABCD"
    assert pattern(own) == pattern(other_row) == r"[ABCD](?:: [^\n]+)?"
    assert "### Options:\n" in own.prompt
    assert "options: [" in other_row.prompt


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("Product_Matching.json", "product_matching"),
        ("Product_Matching_OOD.json", "product_matching_ood"),
        ("Product_Matching/IND_Diverse_Instruction/test.json", "product_matching"),
        ("Product_Matching/OOD_Diverse_Instruction/test.json", "product_matching_ood"),
        ("Product_Matching/OOD_Single_Instruction/test.json", None),
        ("Product_Matching/IND_Diverse_Instruction/train.json", None),
        ("Product_Substitue_Identification.json", "product_substitute_identification"),
    ],
)
def test_a_path_stands_for_task_setting_and_split_where_rows_do_not_tell(path: str, task: str | None, tmp_path: Path) -> None:
    write(tmp_path / path, [{key: records()[3][key] for key in ("instruction", "input", "output")}])

    assert list(rows_of(tmp_path)[0]) == ([task] if task else [])


def test_json_lines_and_parquet_are_read_like_the_json_list(published: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = json.loads(published.read_text())
    lines, table = tmp_path / "lines" / "all.jsonl", tmp_path / "table" / "train-00000-of-00001.parquet"
    for path in (lines, table):
        path.parent.mkdir()
    lines.write_text("".join(json.dumps(row) + "\n" for row in content))
    pq.write_table(pa.Table.from_pylist(content), table)

    assert rows_of(lines.parent) == rows_of(table.parent) == rows_of(published)


def test_labels_beside_the_rankings_give_the_gains_of_the_papers_ndcg(tmp_path: Path) -> None:
    file = write(tmp_path / "Query_Product_Ranking" / "IND_Diverse_Instruction" / "test.json", records()[10:12])
    by_place = rows_of(tmp_path)[0]["query_product_rank"]
    write(file.with_name("label.json"), [["I", "S"], ["S", "I", "C", "E"]])
    labelled = rows_of(tmp_path)[0]["query_product_rank"]

    assert [(row.gains, row.labelled) for row in by_place] == [((0.1, 1.0), False), ((0.1, 0.0, 0.01, 1.0), False)]
    assert [(row.gains, row.labelled) for row in labelled] == [((0.0, 0.1), True), ((0.1, 0.0, 0.01, 1.0), True)]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({}, "is not a JSON list with an entry for each of the 2 rankings"),
        ([["I", "S"]], "is not a JSON list with an entry for each of the 2 rankings"),
        ([["S", "I"], ["S", "I", "C", "E"]], "item 1: ['S', 'I'] are not the labels of a ranking whose true order is B,A"),
        ([["I", "S"], ["S", "I", "E"]], "item 2"),
        ([["I", "X"], ["S", "I", "C", "E"]], "item 1"),
        ([["I", ["S"]], ["S", "I", "C", "E"]], "item 1"),
        ([3, 4], "item 1: 3 are not the labels"),
    ],
)
def test_labels_that_do_not_fit_the_rankings_are_an_error(labels: Any, sentence: str, tmp_path: Path) -> None:
    write(tmp_path / "Query_Product_Rank.json", records()[10:12])
    write(tmp_path / "label.json", labels)

    with pytest.raises(UserError, match=re.escape(sentence)):
        rows_of(tmp_path)


@pytest.mark.parametrize(
    ("index", "change", "sentence"),
    [
        (0, {"output": "colour: red"}, "item 1: \"output\" 'colour: red' is not an answer to Attribute_Value_Extraction"),
        (0, {"output": '[{"attribute": "colour"}]'}, "is not an answer to Attribute_Value_Extraction"),
        (1, {"output": "F"}, "is not an answer to Product_Relation_Prediction"),
        (3, {"output": "maybe"}, "is not an answer to Product_Matching"),
        (3, {"output": None}, '"output" is null; it must be a string'),
        (3, {"input": 3}, '"input" is a number; it must be a string'),
        (5, {"output": ""}, "is not an answer to Sentiment_Analysis"),
        (7, {"output": "Z"}, "is not an answer to Sequential_Recommendation"),
        (10, {"output": "B,B"}, "is not an answer to Query_Product_Rank"),
        (10, {"output": "A,C"}, "is not an answer to Query_Product_Rank"),
        (10, {"output": "A,B,C,D,E"}, "is not an answer to Query_Product_Rank"),
        (10, {"output": ""}, "is not an answer to Query_Product_Rank"),
        (13, {"output": " "}, "is not an answer to Answer_Generation"),
    ],
)
def test_a_wrong_gold_is_an_error_that_names_its_row(index: int, change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        rows_of(write(tmp_path / "all.json", [records()[index] | change]))


def test_what_is_not_ecinstructs_is_told_and_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.json", [records()[3], records()[3] | {"task": "Query_Rewriting"}])
    write(tmp_path / "b.json", [{"instruction": "?", "input": "?", "output": "yes"}])
    write(tmp_path / "c.json", {"config": True})
    write(tmp_path / "d.json", [records()[3]])
    (tmp_path / "e.json").write_text("{")
    (tmp_path / "README.md").write_text("no rows")

    rows, told = rows_of(tmp_path)

    assert list(rows) == ["product_matching"]
    assert len(rows["product_matching"]) == 1
    broken = "line 1: not JSON (Expecting property name enclosed in double quotes at column 2)"
    assert told == [
        f"{tmp_path}/a.json: 'Query_Rewriting' is no task of ECInstruct",
        f"{tmp_path}/b.json: neither its rows nor its name tell their task",
        f"{tmp_path}/c.json: neither its rows nor its name tell their task",
        f"ecinstruct:product_matching of {tmp_path}/d.json: its rows are read from {tmp_path}/a.json",
        f"{tmp_path}/e.json: {tmp_path}/e.json, {broken}",
    ]


# --- Scores ---


def shown(row: EcinstructRow, text: str) -> str | None:
    return shown_answer(f"ecinstruct:{row.task}", text, {"row": json.dumps(vars(row))})


def row_of(task: str, output: str, ood: bool = False) -> EcinstructRow:
    letters = "ABCD"[: len(output.split(","))] if task == "query_product_rank" else "ABCDE"
    places = {letter: place for place, letter in enumerate(output.split(","))}
    gains = tuple(list(GAINS.values())[places[letter]] for letter in letters) if task == "query_product_rank" else ()
    return EcinstructRow(task, "?", output, ood, letters, gains)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_an_answer_is_read_and_valued_as_worked_out_by_hand(case: dict[str, Any]) -> None:
    row = row_of(case["task"], case["output"], case.get("ood", False))

    if "read" in case:
        assert parse_answer(row, case["text"]) == case["read"]
        assert (shown(row, case["text"]) is None) == (case["read"] is None)
    assert value(row, case["text"], strict=False) == pytest.approx(case["value"], abs=1e-12)
    assert value(row, case["text"], strict=True) == pytest.approx(case["strict"], abs=1e-12)


def test_cases_cover_every_task_and_every_metric_has_its_rule() -> None:
    assert {case["task"] for case in CASES} == set(TASKS)
    assert {task.metric for task in TASKS.values()} - set(AGGREGATES) == {"ndcg", "rougel"}


def scored(task: str, outputs: list[str], texts: list[str]) -> float:
    return float(
        task_score(TASKS[task].metric, [value(row_of(task, o), t, False) for o, t in zip(outputs, texts, strict=True)])
    )


def pairs_of(outputs: list[str], more: list[str]) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Right answers and what a model said."""
    return st.lists(st.tuples(st.sampled_from(outputs), st.sampled_from([*outputs, *more])), min_size=1, max_size=20)


@given(pairs=pairs_of(["yes", "no"], ["YES ", "no.", ""]))
def test_f1_is_scikit_learns_over_the_answers_that_can_be_read(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import f1_score

    kept = [(true, said.lower().strip()) for true, said in pairs if said.lower().strip() in ("yes", "no")]
    expected = f1_score(*zip(*kept, strict=True), pos_label="yes", zero_division=0) if kept else 0

    assert scored("product_matching", *map(list, zip(*pairs, strict=True))) == pytest.approx(expected)


@given(pairs=pairs_of(SENTIMENTS, ["A", "E.", "none", ""]))
def test_macro_f1_is_scikit_learns_over_the_answers_that_can_be_read(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import f1_score

    kept = [(true[0], said[0]) for true, said in pairs if said[:1] in tuple("ABCDE")]
    expected = f1_score(*zip(*kept, strict=True), average="macro") if kept else 0

    assert scored("sentiment_analysis", *map(list, zip(*pairs, strict=True))) == pytest.approx(expected)


@given(pairs=pairs_of(["A", "B", "T"], ["U", "A: lamp", " B"]))
def test_hit_rate_is_the_share_of_right_letters_among_those_that_can_be_read(pairs: list[tuple[str, str]]) -> None:
    kept = [(true, said.strip()) for true, said in pairs if said.strip() in ("A", "B", "T")]
    expected = sum(true == said for true, said in kept) / len(kept) if kept else 0

    assert scored("sequential_recommendation", *map(list, zip(*pairs, strict=True))) == pytest.approx(expected)


@given(
    rows=st.lists(
        st.tuples(
            *[st.lists(st.sampled_from(ITEMS), min_size=least, unique_by=lambda item: item["attribute"]) for least in (1, 0)]
        ),
        min_size=1,
    )
)
def test_f1_of_attributes_is_that_of_evaluate_py_where_no_item_is_repeated(rows: list[tuple[list[Any], list[Any]]]) -> None:
    hits = sum(item in truth for truth, items in rows for item in items)
    recall = hits / sum(len(truth) for truth, _ in rows)
    precision = hits / (sum(len(items) for _, items in rows) + 1e-6)
    expected = 2 * recall * precision / (recall + precision + 1e-6)

    outputs, texts = zip(*[(json.dumps(truth), json.dumps(items)) for truth, items in rows], strict=True)
    assert scored("attribute_value_extraction", list(outputs), list(texts)) == pytest.approx(expected, abs=5e-6)


@given(order=st.permutations("ABCD"), text=st.text("ABCDX, ", max_size=12))
def test_ndcg_is_that_of_the_letters_that_were_read(order: list[str], text: str) -> None:
    row = row_of("query_product_rank", ",".join(order))
    gain_of = dict(zip(row.letters, row.gains, strict=True))
    gains = [gain_of[piece[0]] for piece in text.strip().split(",") if piece and piece[0] in gain_of]

    def dcg(values: list[float]) -> float:
        return sum((2**gain - 1) / math.log2(place + 2) for place, gain in enumerate(values))

    ideal = dcg(sorted(gains, reverse=True))
    assert value(row, text, strict=False) == pytest.approx(dcg(gains) / ideal if ideal else 0)
    assert 0 <= value(row, text, strict=True) <= 1 + 1e-12  # type: ignore[operator]


ALL_ROWS = [
    row_of(task, output, ood)
    for ood in (False, True)
    for task, output in {
        "attribute_value_extraction": json.dumps(ITEMS),
        "product_relation_prediction": "C",
        "product_matching": "yes",
        "sentiment_analysis": "A: very positive",
        "sequential_recommendation": "D",
        "multiclass_product_classification": "B: A substitute.",
        "query_product_rank": "C,A,B",
        "answer_generation": "Yes, it is in the box.",
    }.items()
]


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: f"{row.task} {row.out_of_domain}")
@settings(max_examples=30)
@given(data=st.data())
def test_what_a_pattern_allows_can_be_read(row: EcinstructRow, data: st.DataObject) -> None:
    if pattern(row):
        assert re.fullmatch(pattern(row), row.output)
        assert parse_answer(row, data.draw(st.from_regex(pattern(row), fullmatch=True))) is not None


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: f"{row.task} {row.out_of_domain}")
@given(text=st.text() | st.text('[]{},:"ABCDyesno \\attribute', max_size=60))
def test_no_text_makes_reading_or_scoring_raise_and_no_score_leaves_0_to_1(row: EcinstructRow, text: str) -> None:
    shown(row, text)
    for strict in (False, True):
        assert 0 <= task_score(TASKS[row.task].metric, [value(row, text, strict)]) <= 1 + 1e-12


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: f"{row.task} {row.out_of_domain}")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0" * 9,
        "\x1b[31m\x07\x7f\u200b",
        "x " * 50_000,
        "[" * 100_000,
        "[1," * 33_333,
        "9" * 100_000,
        '[{"attribute":' * 7000,
    ],
    ids=["empty", "null", "control", "words", "brackets", "lists", "digits", "objects"],
)
def test_garbage_scores_0_within_a_second(row: EcinstructRow, text: str) -> None:
    start = time.process_time()

    for strict in (False, True):
        assert task_score(TASKS[row.task].metric, [value(row, text, strict)]) == 0

    assert time.process_time() - start < 1


# --- lighteval ---


def test_gold_answers_score_1_inside_lighteval(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lighteval.metrics import apply_metric
    from lighteval.models.model_output import ModelResponse
    from lighteval.tasks.lighteval_task import LightevalTask

    table = load_tasks("ecinstruct", monkeypatch, tmp_path, ECINSTRUCT_DATA=str(published)).TASKS_TABLE

    assert [config.name for config in table][:2] == [
        "ecinstruct:attribute_value_extraction",
        "ecinstruct:product_relation_prediction",
    ]
    assert len(table) == 20
    for config in table:
        docs = LightevalTask(config).get_docs()
        values = apply_metric([ModelResponse(text=[doc.get_golds()[0]]) for doc in docs], docs, config.metrics)
        scores = {
            metric.metric_name: metric.corpus_level_fn([row[metric.metric_name] for row in values]) for metric in config.metrics
        }
        assert scores == {"score": {"score": 1.0}, "strict": {"strict": 1.0}, "unparsable": 0.0, "unfinished": 0.0}
        assert all(re.fullmatch(doc.specific["pattern"], doc.get_golds()[0]) for doc in docs if doc.specific["pattern"])


def test_a_run_of_the_console_script_scores_every_task(lighteval: Lighteval, model: Path, tmp_path: Path) -> None:
    rows = [*records(), records("OOD_Diverse_Instruction")[0]]
    done = lighteval(
        "accelerate",
        f"model_name={model},batch_size=8",
        "ecinstruct|0",
        "--custom-tasks",
        "eval_tasks/ecinstruct.py",
        "--output-dir",
        str(tmp_path),
        ECINSTRUCT_DATA=str(write(tmp_path / "ECInstruct.json", rows)),
    )

    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = tmp_path.rglob("results_*.json")
    content = json.loads(file.read_text(), parse_constant=pytest.fail)
    names = {f"ecinstruct:{name}|0" for name in [*TASKS, "attribute_value_extraction_ood"]}
    assert set(content["results"]) == {*names, "ecinstruct:_average|0", "all"}
    assert all(content["results"][name].keys() >= {"score", "strict", "unparsable"} for name in names)
    for name, task in TASKS.items():
        metric = BY_PLACE if task.form == "order" else task.metric
        assert content["config_tasks"][f"ecinstruct:{name}|0"]["metrics"][0]["official_name"] == metric


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "ECINSTRUCT_DATA is not set; set it to ECInstruct's JSON file"),
        (
            {"ECINSTRUCT_DATA": "org/none"},
            "ECINSTRUCT_DATA=org/none is no folder here, and cannot be had from the Hub (",
        ),
        ({"ECINSTRUCT_DATA": "org/none", "ECINSTRUCT_REVISION": "v1"}, "cannot be had from the Hub at revision v1 ("),
        ({"ECINSTRUCT_DATA": "/no/file.json"}, "ECINSTRUCT_DATA=/no/file.json is no file or folder here, and no Hub id"),
        ({"ECINSTRUCT_DATA": "FILE", "ECINSTRUCT_INSTRUCTIONS": "diverse"}, "is unknown; it is one of Diverse, Single, Unseen"),
        ({"ECINSTRUCT_DATA": "FILE", "ECINSTRUCT_INSTRUCTIONS": "Unseen"}, "there is no ecinstruct task in it"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_sentence(
    environment: dict[str, str],
    sentence: str,
    published: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        load_tasks(
            "ecinstruct",
            monkeypatch,
            tmp_path,
            **{name: text.replace("FILE", str(published)) for name, text in environment.items()},
        )

    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert sentence in error


def test_a_single_task_is_not_run_by_the_suites_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "Product_Matching.json", records()[3:5])
    monkeypatch.setattr("sys.argv", ["lighteval", "accelerate", "model_name=x", "gsm8k|0,ecinstruct|0"])

    with pytest.raises(SystemExit):
        load_tasks("ecinstruct", monkeypatch, tmp_path, ECINSTRUCT_DATA=str(data))

    assert 'write "ecinstruct:product_matching|0" instead of "ecinstruct|0"' in capsys.readouterr().err
