"""The baselines as lighteval models: what they are asked and told, what stands in their results, and what does not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from common.answers import parse_completion
from common.tasks import TASKS
from eval_tasks.baselines.encoders import embedder
from eval_tasks.baselines.shop import BASELINES
from tests.eval_tasks.conftest import REPOSITORY, Lighteval
from tests.eval_tasks.questions import TITLES, answer_of, make_row
from tests.eval_tasks.rows import shopbench_records, write_lines
from tests.eval_tasks.test_shop import load_tasks, read_results
from tests.small_dataset import write_small_dataset

MODEL_FILE = REPOSITORY / "eval_tasks" / "baseline_model.py"
Make = Callable[[str], Any]


def rows_of(name: str, template: int, titles: tuple[str, ...]) -> list[dict[str, Any]]:
    options = [f"statement {label}" for label in TASKS[name].labels]
    texts = ("review", "query", "product", "question")
    return [
        make_row(name, answer_of(name), template, options=options, **dict.fromkeys(texts, f"{title} for sale"))
        for title in titles
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of all tasks; `query_relation` has none to train on."""
    tasks = {name: {"train": rows_of(name, 1, TITLES[2:]), "test": rows_of(name, 0, TITLES[:2])} for name in TASKS}
    tasks["query_relation"]["train"] = []
    return write_small_dataset(tmp_path_factory.mktemp("baselines") / "dataset", tasks)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, dataset: Path) -> Make:
    """Makes the model of a command line, as lighteval does."""
    from lighteval.models.custom.custom_model import CustomModelConfig
    from lighteval.models.model_loader import load_custom_model

    monkeypatch.setenv("SHOP_DATASET", str(dataset))
    return lambda text: load_custom_model(CustomModelConfig(model_name=text, model_definition_file_path=str(MODEL_FILE)))


@pytest.fixture
def docs(monkeypatch: pytest.MonkeyPatch, dataset: Path) -> list[Any]:
    """The documents of the test split as lighteval hands them over."""
    from lighteval.tasks.lighteval_task import LightevalTask

    return [doc for config in load_tasks(monkeypatch, dataset).TASKS_TABLE for doc in LightevalTask(config).get_docs()]


NOT_ANSWERED = {
    "random": [],
    "majority": ["query_relation", "query_product_ranking"],
    "tfidf": ["query_relation"],
    "bm25": [name for name in TASKS if TASKS[name].family in ("multiple_choice", "generation")],
    "minilm": ["query_relation"],
}


@pytest.mark.parametrize("name", BASELINES)
def test_every_answer_can_be_read_and_a_task_without_one_leaves_the_run(
    name: str, make: Make, docs: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    responses = make(f"model_name={name}").greedy_until(docs)
    assert len(responses) == len(docs)  # lighteval pairs them by place
    answered = {doc.task_name for doc in docs}
    assert answered == {f"shop:{task}|0" for task in TASKS if task not in NOT_ANSWERED[name]}
    for doc, response in zip(docs, responses, strict=True):
        assert response.input == doc.query
        assert parse_completion(TASKS[doc.task_name.split("|")[0].removeprefix("shop:")], response.text[0]) is not None
    told = [line for line in capsys.readouterr().err.splitlines() if "is left out" in line]
    assert told == [f"warning: shop:{task}|0 is left out: {name} has no answer to it" for task in NOT_ANSWERED[name]]


def test_answers_stand_where_their_documents_do(make: Make, docs: list[Any]) -> None:
    docs.reverse()
    mixed = docs[::2] + docs[1::2]
    said = {id(doc): text.text for doc, text in zip(mixed, make("random").greedy_until(mixed), strict=True)}
    assert said == {id(doc): text.text for doc, text in zip(docs, make("random").greedy_until(docs), strict=True)}


def test_the_seed_makes_the_guess(make: Make, docs: list[Any]) -> None:
    texts = [
        [text.text for text in make(options).greedy_until(docs)] for options in ("random", "random", "model_name=random,seed=1")
    ]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("name", BASELINES)
def test_what_is_right_is_not_looked_at(name: str, make: Make, docs: list[Any]) -> None:
    said = [response.text for response in make(name).greedy_until(list(docs))]
    for doc in docs:
        doc.choices, doc.specific = [""], {}
    assert [response.text for response in make(name).greedy_until(docs)] == said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("gpt2", "there is no baseline 'gpt2'; give model_name=random, majority, tfidf, bm25, minilm, embedder=MODEL, cross"),
        ("model_name=random,seed=one", "the model option seed must be a whole number of at least 0, not 'one'"),
        ("model_name=tfidf,adapter=org/a", "a baseline has no adapter; leave it out"),
        ("model_name=tfidf,batch_size=4", "unknown model option 'batch_size'"),
    ],
)
def test_a_wrong_option_is_told_in_one_sentence(
    options: str, sentence: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        make(options)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_baseline_without_any_answer_is_an_error(make: Make, docs: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    ranking = [doc for doc in docs if "ranking" in doc.task_name]
    with pytest.raises(SystemExit):
        make("majority").greedy_until(ranking)
    assert "error: majority has no answer to any of these tasks; take another baseline" in capsys.readouterr().err


def test_a_missing_sentence_model_is_told(
    make: Make, docs: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    embedder.cache_clear()
    monkeypatch.setenv("SENTENCE_MODEL", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit):
        make("minilm").greedy_until(docs)
    assert "nowhere cannot be loaded" in (told := capsys.readouterr().err)
    assert "set SENTENCE_MODEL to a folder with it" in told


def run(lighteval: Lighteval, baseline: str, suite: str, out: Path, **environment: str) -> str:
    words = ["custom", f"model_name={baseline}", "eval_tasks/baseline_model.py", f"{suite}|0"]
    more = ["--custom-tasks", f"eval_tasks/{suite}.py", "--output-dir", str(out), "--save-details"]
    done = lighteval(*words, *more, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return str(done.stderr)


def test_a_run_leaves_results_and_details_as_of_any_model(lighteval: Lighteval, dataset: Path, tmp_path: Path) -> None:
    errors = run(lighteval, "majority", "shop", tmp_path, SHOP_DATASET=str(dataset))
    assert "warning: shop:query_product_ranking|0 is left out: majority has no answer to it" in errors
    content = read_results(tmp_path / "results" / "majority")
    scored = {key for key in content["results"] if key not in ("all", "shop:_average|0")}
    assert scored == {f"shop:{task}|0" for task in TASKS if task not in NOT_ANSWERED["majority"]}
    assert content["results"]["shop:review_rating|0"]["accuracy"] == 1
    assert content["config_general"]["model_config"]["learnt_from"] == f"train split of {dataset}"
    details = {file.name.removeprefix("details_").split("_2")[0]: file for file in tmp_path.rglob("details_*.parquet")}
    assert set(details) == scored
    (one, other) = pq.read_table(details["shop:review_rating|0"]).to_pylist()
    assert {one["doc"]["query"], other["doc"]["query"]} == {
        row["prompt"][0]["content"] for row in rows_of("review_rating", 0, TITLES[:2])
    }
    assert one["model_response"]["text"] == ["1"]


def test_shopbench_is_answered_where_it_lists_options(lighteval: Lighteval, dataset: Path, tmp_path: Path) -> None:
    rows = write_lines(tmp_path / "rows.json", shopbench_records())
    run(lighteval, "tfidf", "shopbench", tmp_path / "out", SHOP_DATASET=str(dataset), SHOPBENCH_DATA=str(rows))
    results = read_results(tmp_path / "out")["results"]
    assert set(results) == {"shopbench:task2|0", "shopbench:task3|0", "shopbench:_average|0", "all"}
    assert json.dumps(results["shopbench:task3|0"]["unparsable"]) == "0.0"


def test_rows_to_learn_from_must_be_named(
    make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SHOP_DATASET")
    with pytest.raises(SystemExit):
        make("tfidf")
    assert "error: SHOP_DATASET is not set; set it to the dataset whose train rows the" in capsys.readouterr().err
