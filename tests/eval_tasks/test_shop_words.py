"""The rows in words as lighteval's own log-likelihood tasks: what is asked, and a row's score from its documents."""

import json
from pathlib import Path
from typing import Any

import pytest
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTask

from common.tasks import TASKS
from common.words import in_words, is_scored
from tests.eval_tasks.conftest import REPOSITORY, Lighteval
from tests.eval_tasks.questions import answer_of, make_row
from tests.small_dataset import write_small_dataset


def rows_of(name: str) -> list[dict[str, Any]]:
    form = TASKS[name].words
    options = list(reversed(form.statements)) if form else []
    return [make_row(name, answer_of(name), template, options=options) for template in (0, 1)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ("answerability", "query_product_relation", "query_product_ranking", "also_buy", "query_generation")
    folder = tmp_path_factory.mktemp("shop_words") / "dataset"
    return write_small_dataset(folder, {name: {"train": rows_of(name), "test": rows_of(name)} for name in names})


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, dataset: Path, tmp_path: Path) -> dict[str, Any]:
    from lighteval.tasks.registry import Registry

    monkeypatch.setenv("SHOP_DATASET", str(dataset))
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    module = Registry.create_custom_tasks_module(str(REPOSITORY / "eval_tasks" / "shop_words.py"))
    return {config.hf_subset: config for config in module.TASKS_TABLE}


def test_a_choice_is_one_document_and_a_list_one_for_each_item(table: dict[str, Any]) -> None:
    assert set(table) == {"answerability", "query_product_relation", "query_product_ranking", "also_buy"}
    counts = {"answerability": 2, "query_product_relation": 2, "query_product_ranking": 10, "also_buy": 30}
    for name, config in table.items():
        docs = LightevalTask(config).get_docs()
        assert is_scored(TASKS[name])
        assert len(docs) == counts[name]
        assert all(tuple(doc.choices) == in_words(TASKS[name]).labels for doc in docs)


@pytest.mark.parametrize("liked", [True, False])
def test_a_rows_answer_is_made_of_all_of_its_documents(table: dict[str, Any], liked: bool) -> None:
    """A model that likes what is right, or all but that."""
    for name, config in table.items():
        (metric,) = config.metrics
        found = []
        for doc in LightevalTask(config).get_docs():
            known = json.loads(doc.specific["row"])
            right = right_word(name, known)
            logs = [-1.0 if (choice == right) == liked else -9.0 for choice in doc.choices]
            found.append(metric.compute_sample(model_response=ModelResponse(logprobs=logs), doc=doc)["likelihoods"])
        score = metric.corpus_level_fn(found)
        assert score["rows"] == 2
        assert (score[TASKS[name].metric] == pytest.approx(1)) == liked
        assert metric.corpus_level_fn(found[:-1])["rows"] == 1, "a row that misses an item has no score"


def right_word(name: str, known: dict[str, Any]) -> str:
    from common.words import labelled_items, word_of_label

    task = TASKS[name]
    if task.words and task.words.items:
        return labelled_items(task, known["fields"], known["answer"])[known["item"]][1]
    return word_of_label(task, known["fields"], str(known["answer"]))


def test_by_text_a_lists_documents_have_one_text_as_their_only_choice(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lighteval.tasks.registry import Registry

    monkeypatch.setenv("SHOP_DATASET", str(dataset))
    monkeypatch.setenv("SHOP_LISTS", "text")
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    module = Registry.create_custom_tasks_module(str(REPOSITORY / "eval_tasks" / "shop_words.py"))
    table = {config.hf_subset: config for config in module.TASKS_TABLE}
    for name in ("query_product_ranking", "also_buy"):
        (metric,) = table[name].metrics
        found: dict[bool, list[str]] = {True: [], False: []}
        for doc in LightevalTask(table[name]).get_docs():
            known = json.loads(doc.specific["row"])
            items = known["fields"][TASKS[name].words.items]
            item, turned = divmod(known["item"], 2 if TASKS[name].by_text.direct else 1)
            assert doc.choices == [items[item] if turned else known["fields"][TASKS[name].by_text.text]]
            worth = known["answer"][item] if TASKS[name].family == "ranking" else item + 1 in known["answer"]
            for liked, documents in found.items():
                response = ModelResponse(logprobs=[float(worth) if liked else -float(worth)])
                documents.append(metric.compute_sample(model_response=response, doc=doc)["likelihoods"])
        assert metric.corpus_level_fn(found[True])[TASKS[name].metric] == pytest.approx(1)
        assert metric.corpus_level_fn(found[False])[TASKS[name].metric] < 1
    docs = LightevalTask(table["query_product_relation"]).get_docs()
    assert all(len(doc.choices) == 4 for doc in docs), "a choice is asked in words all the same"
    monkeypatch.setenv("SHOP_LISTS", "texts")
    with pytest.raises(SystemExit):
        Registry.create_custom_tasks_module(str(REPOSITORY / "eval_tasks" / "shop_words.py"))


def test_lightevals_own_model_and_this_projects_score_the_same(
    lighteval: Lighteval, model: Path, dataset: Path, tmp_path: Path
) -> None:
    scores = []
    for number, line in enumerate(
        (("accelerate", f"model_name={model},batch_size=8,dtype=float32"),
         ("custom", f"model_name={model},dtype=float32", "eval_tasks/transformers_model.py"))
    ):  # fmt: skip
        out = tmp_path / str(number)
        options = ("shop_words|0", "--custom-tasks", "eval_tasks/shop_words.py", "--output-dir", str(out))
        done = lighteval(*line, *options, SHOP_DATASET=str(dataset))
        assert done.returncode == 0, done.stderr[-3000:]
        results = json.loads(next(out.rglob("results_*.json")).read_text(encoding="utf-8"))["results"]
        scores.append(
            {task: values for task, values in results.items() if task.startswith("shop_words:") and "_av" not in task}
        )
    assert scores[0] == scores[1]
    assert scores[0]["shop_words:also_buy|0"]["rows"] == 2
