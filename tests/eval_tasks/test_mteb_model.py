"""The pointwise ranker under MTEB itself, on a small reranking task in MTEB's own format."""

import json
from math import log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.scoring import ndcg
from common.tasks import TASKS
from common.words import expected_gain, word_prompts
from eval_tasks.backends.prompts import COMMON_OPTIONS, LoadedModel
from eval_tasks.transformers_model import TransformersBackend, load

pytest.importorskip("mteb", reason="the package mteb is not installed: pip install -r tests/requirements.txt")

from eval_tasks.mteb_model import PairRanker, evaluate, gain_log_odds, main, model_meta, relevance_prompt

QUERIES = {"q1": "garden hose", "q2": "desk\n lamp"}
DOCUMENTS = {"d1": "Garden hose, 20 m", "d2": "Brass desk lamp", "d3": "Teapot", "d4": "Hose reel\nwith hose", "d5": "Bulb"}
JUDGED = {"q1": {"d1": 1, "d2": 0, "d3": 0, "d4": 1, "d5": 0}, "q2": {"d1": 0, "d2": 1, "d3": 0, "d5": 1}}


@pytest.fixture(scope="module")
def loaded(tiny_llama: Path) -> LoadedModel:
    return load({**COMMON_OPTIONS, **TransformersBackend.OPTIONS, "model_name": str(tiny_llama), "dtype": "float32"})


@pytest.fixture(scope="module")
def ranker(loaded: LoadedModel) -> PairRanker:
    return PairRanker(loaded, "tiny")


def local_task(folder: Path) -> Any:
    """A reranking task of MTEB whose dataset is a folder, in the layout of https://huggingface.co/datasets/mteb/ESCIReranking."""
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    tables: dict[str, list[dict[str, Any]]] = {
        "corpus": [{"_id": key, "title": "", "text": text} for key, text in DOCUMENTS.items()],
        "queries": [{"_id": key, "text": text} for key, text in QUERIES.items()],
        "qrels": [
            {"query-id": query, "corpus-id": document, "score": gain}
            for query, judged in JUDGED.items()
            for document, gain in judged.items()
        ],
        "top_ranked": [{"query-id": query, "corpus-ids": list(judged)} for query, judged in JUDGED.items()],
    }
    folder.mkdir()
    for name, rows in tables.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    configs = [{"config_name": name, "data_files": [{"split": "test", "path": f"{name}.jsonl"}]} for name in tables]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")

    class LocalReranking(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="LocalReranking",
            description="Products for queries",
            reference=None,
            dataset={"path": str(folder), "revision": "main"},
            type="Reranking",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            date=None,
            domains=None,
            task_subtypes=None,
            license=None,
            annotations_creators=None,
            dialect=None,
            sample_creation=None,
            bibtex_citation=None,
        )

    return LocalReranking()


def own_scores(loaded: LoadedModel, query: str, documents: list[str]) -> list[float]:
    """What the ranking's own form in words makes of a list."""
    task = TASKS["query_product_ranking"]
    fields = {"query": " ".join(query.split()), "products": [" ".join(text.split()) for text in documents]}
    prompts = [relevance_prompt(query, document) for document in documents]
    assert [asked.prompt.plain for asked in prompts] == word_prompts(task, fields)
    found = dict(loaded.score(prompts, None))
    assert task.words
    return [expected_gain(task.words, found[place]) for place in range(len(documents))]


def test_a_pair_is_asked_as_a_product_of_a_ranking_in_words(loaded: LoadedModel, ranker: PairRanker) -> None:
    documents = list(DOCUMENTS.values())
    batches = [{"text": documents[:3]}, {"text": documents[3:]}]
    scores = ranker.predict([{"text": ["desk\n lamp"] * 5}], batches)
    gains = own_scores(loaded, "desk lamp", documents)
    assert scores.tolist() == pytest.approx([log(gain / (1 - gain)) for gain in gains], rel=1e-6)
    assert len(set(scores.astype("float32"))) == 5


@given(st.lists(st.floats(-30, 0), min_size=4, max_size=4), st.lists(st.floats(-30, 0), min_size=4, max_size=4))
def test_the_score_orders_as_the_expected_gain(first: list[float], second: list[float]) -> None:
    form = TASKS["query_product_ranking"].words
    assert form
    gains = [expected_gain(form, each) for each in (first, second)]
    scores = [gain_log_odds(form, tuple(each)) for each in (first, second)]
    if abs(gains[0] - gains[1]) > 1e-9:
        assert (gains[0] < gains[1]) == (scores[0] < scores[1])


def test_mteb_ranks_by_these_scores(loaded: LoadedModel, ranker: PairRanker, tmp_path: Path) -> None:
    found = evaluate(ranker, [local_task(tmp_path / "task")], tmp_path / "results")
    expected = []
    for query, judged in JUDGED.items():
        scores = own_scores(loaded, QUERIES[query], [DOCUMENTS[key] for key in judged])
        order = sorted(range(1, len(scores) + 1), key=lambda number: -scores[number - 1])
        expected.append(ndcg(order, list(judged.values())))
    assert found == {"LocalReranking": pytest.approx(sum(expected) / len(expected), abs=1e-5)}
    (results,) = (tmp_path / "results").rglob("LocalReranking.json")
    assert "local__tiny" in str(results)


def test_a_model_on_the_hub_keeps_its_name() -> None:
    assert (model_meta("org/shop-lora").name, model_meta("adapter").name) == ("org/shop-lora", "local/adapter")
    assert model_meta("adapter").is_cross_encoder


@pytest.mark.parametrize(
    ("tasks", "sentence"), [("NoSuchTask", "--tasks NoSuchTask"), ("NFCorpus", "NFCorpus is no reranking task")]
)
def test_another_task_is_refused_before_the_model_is_loaded(
    tasks: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--model", "nowhere/at-all", "--tasks", tasks, "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
