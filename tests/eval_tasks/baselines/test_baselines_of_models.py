"""Baselines that name a model: tiny random ones of sentence-transformers, and the query likelihood of a base."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from common.scoring import MetricUnavailableError
from common.tasks import TASKS
from eval_tasks.backends.prompts import Likelihoods, LoadedModel, ScoredPrompt
from eval_tasks.baseline_model import query_prompts
from eval_tasks.baselines.encoders import by_weight, cross_encoder, encoder, ranker
from eval_tasks.baselines.shop import baseline_answers, is_baseline, shown_baseline
from eval_tasks.baselines.template_rows import TemplateRow, template_row
from tests.eval_tasks.questions import FIELDS, TITLES, make_row

WORDS = sorted({word for title in (*TITLES, *FIELDS["products"], *FIELDS["candidates"]) for word in title.lower().split()})


def tiny_bert(folder: Path, labels: int = 1) -> Path:
    """A random BERT of two layers that reads pairs of texts, as a cross-encoder does."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    folder.mkdir(parents=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]), encoding="utf-8")
    tokenizer = BertTokenizer(str(vocabulary))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        num_labels=labels,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("rerankers") / "tiny")


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sentence_transformers import SentenceTransformer, models

    folder = tmp_path_factory.mktemp("embedders")
    words = models.Transformer(str(tiny_bert(folder / "bert")))
    SentenceTransformer(modules=[words, models.Pooling(words.get_word_embedding_dimension())]).save(str(folder / "tiny"))
    return folder / "tiny"


def rows(name: str, answer: object) -> list[TemplateRow]:
    return [template_row(make_row(name, answer, query=title, product=title)) for title in TITLES]


def test_a_cross_encoder_reads_both_texts_and_orders_lists_only(reranker: Path) -> None:
    name = f"cross-encoder={reranker}"
    ranking = rows("query_product_ranking", [0.0, 1.0, 0.1, 0.01, 0.1])
    said = baseline_answers(name, [], ranking)
    assert said
    assert all(sorted(text.split(",")) == list("12345") for text in said)
    weigh = cross_encoder(str(reranker))
    first = ranking[0]
    weights = weigh("\n".join(first.texts()), first.candidates())
    assert said[0].split(",")[0] == str(1 + max(range(5), key=lambda place: weights[place]))
    assert weigh("kettle", ["steel"]) != weigh("steel", ["kettle"]), "it is no similarity of two texts apart"
    assert baseline_answers(name, [], rows("also_buy", [1, 4])) is not None
    assert baseline_answers(name, ranking, rows("review_rating", "4")) is None


def test_an_embedder_stands_in_for_minilm_in_every_family(embedder: Path) -> None:
    name = f"embedder={embedder}"
    vectors = encoder(name, [])(list(TITLES))
    assert vectors.shape[0] == len(TITLES)
    assert abs((vectors**2).sum(axis=1) - 1).max() < 1e-5
    for task in ("query_product_ranking", "also_buy", "review_rating", "query_generation"):
        answer = {"ranking": [0.0, 1.0, 0.1, 0.01, 0.1], "retrieval": [1, 4], "generation": "lamp"}
        train = rows(task, answer.get(TASKS[task].family, "4"))
        assert len(baseline_answers(name, train, train) or []) == len(TITLES)
    assert ranker(name, [])("lamp", ["lamp", "tea"])[0] == pytest.approx(1, abs=1e-5)


def test_what_is_no_such_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(MetricUnavailableError, match=r"the cross-encoder .* cannot be loaded"):
        cross_encoder(str(tmp_path))
    with pytest.raises(MetricUnavailableError, match="gives 3 scores for two texts"):
        cross_encoder(str(tiny_bert(tmp_path / "three", labels=3)))


def test_names_of_baselines(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert [is_baseline(name) for name in ("tfidf", "embedder=org/a", "embedder=", "cross-encoder", "gpt=org/a")] == [
        *(True, True, False, False, False)
    ]
    assert shown_baseline("cross-encoder=org/a") == "cross-encoder=org/a"
    assert shown_baseline(f"embedder={tmp_path / 'mine'}") == "embedder=mine", "no path of this machine"
    assert shown_baseline("bm25") == "bm25"


def test_products_are_ranked_by_the_likelihood_of_the_query_behind_each() -> None:
    row = template_row(make_row("query_product_ranking", [0.0, 1.0, 0.1, 0.01, 0.1], query="green lamp"))
    prompts = query_prompts(row)
    assert [prompt.candidates for prompt in prompts] == [("green lamp",)] * 5
    assert ["Green lamp" in prompt.prompt.plain for prompt in prompts] == [False, True, False, False, False]
    assert row.render(by_weight([-3.0, -1.0, -9.0, -8.0, -2.0])) == "2,5,1,4,3"


def test_query_likelihood_asks_the_base_and_keeps_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lighteval.models.custom.custom_model import CustomModelConfig
    from lighteval.tasks.requests import Doc

    from eval_tasks.baseline_model import BaselineBackend

    monkeypatch.setenv("SHOP_DATASET", str(tmp_path))
    asked = []

    def score(prompts: Sequence[ScoredPrompt], adapter: Path | None) -> Iterator[tuple[int, Likelihoods]]:
        asked.extend(prompts)
        for place, prompt in enumerate(prompts):
            yield place, (-float(len(set(prompt.candidates[0].lower()) - set(prompt.prompt.plain.lower()))) - place,)

    loaded = LoadedModel(("scoring",), lambda *_: iter(()), score=score)
    config = CustomModelConfig(model_name=f"model_name=qlm,cache_dir={tmp_path}", model_definition_file_path="x")
    row = make_row("query_product_ranking", [0.0, 1.0, 0.1, 0.01, 0.1])
    docs = [Doc(row["prompt"][0]["content"], [""], 0, task_name="shop:query_product_ranking|0") for _ in range(2)]
    assert [said.text for said in BaselineBackend(config, loaded).greedy_until(docs[:1])] == [["1,2,3,4,5"]]
    assert len(asked) == 5
    BaselineBackend(config, loaded).greedy_until(docs)
    assert len(asked) == 5
    with pytest.raises(SystemExit):
        BaselineBackend(config)
    assert "the baseline qlm asks a language model" in capsys.readouterr().err
