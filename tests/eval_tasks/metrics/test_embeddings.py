"""Embeddings: the same in any company, near those of one text at a time, and never a silent 0."""

from pathlib import Path

import numpy as np
import pytest
import torch

from common.scoring import MetricUnavailableError
from eval_tasks.metrics import embeddings
from eval_tasks.metrics.embeddings import PACKAGED_SENTENCE_MODEL, cosine, embed, sentence_model, similarities

TEXTS = [
    "lamp",
    "a very long title of a brass desk lamp with a warm white bulb " * 3,
    "teapot",
    "a clamp for a lamp",
    "a lamp for a clamp",
    "",
    "真鍮のランプ",
    "word " * 400,
]


def test_a_cosine_is_the_mean_over_references_floored_at_0() -> None:
    east, north, west = (np.array(vector, dtype=np.float32) for vector in ([2, 0], [0, 3], [-1, 0]))

    assert cosine(east, [east]) == 1
    assert cosine(east, [east, north]) == 0.5
    assert cosine(east, [west]) == 0
    assert cosine(east, [west, north]) == 0


@pytest.fixture(scope="module")
def model() -> str:
    pytest.importorskip(PACKAGED_SENTENCE_MODEL, reason="the packaged sentence-embedding model is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SENTENCE_MODEL", raising=False)
        return sentence_model("sent-transformer")


def test_embeddings_are_those_of_one_text_at_a_time(model: str) -> None:
    found = embed([*TEXTS, *TEXTS[:3]], "sent-transformer", model)
    encoder = embeddings.load_sentence_model(model)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = {text: encoder.encode([text], show_progress_bar=False)[0] for text in TEXTS}
        torch.set_num_threads(2)
        on_two_threads = {text: encoder.encode([text], show_progress_bar=False)[0] for text in TEXTS}
    finally:
        torch.set_num_threads(threads)

    assert set(found) == set(TEXTS)
    for text in TEXTS:
        assert found[text].dtype == np.float32
        assert np.array_equal(found[text], alone[text])
        assert np.abs(found[text] - on_two_threads[text]).max() < 1e-6


@pytest.mark.parametrize("threads", [1, 3])
def test_embeddings_do_not_depend_on_company_order_or_threads(model: str, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        together = embed(reversed(TEXTS), "sent-transformer", model)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)

    for text in TEXTS[:5]:
        assert np.array_equal(together[text], embed([text], "sent-transformer", model)[text])


def test_batches_hold_texts_of_as_many_tokens_within_both_limits(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "BATCH_TEXTS", 3)
    monkeypatch.setattr(embeddings, "BATCH_TOKENS", 20)
    encoder = embeddings.load_sentence_model(model)
    texts = [f"lamp {number}" for number in range(7)] + [f"a brass lamp with the number {number}" for number in range(5)]

    batches = embeddings._batches(encoder, texts)

    assert sorted(text for batch in batches for text in batch) == sorted(texts)
    for batch in batches:
        lengths = {len(tokens) for tokens in encoder.tokenizer(batch)["input_ids"]}
        assert len(lengths) == 1
        assert len(batch) <= 3
        assert len(batch) * lengths.pop() <= 20


def test_a_mean_is_taken_over_several_references(model: str) -> None:
    same, listed = similarities(["a lamp", "a lamp"], ["a lamp", ["a lamp", "tax law"]], "sent-transformer", model)
    other = similarities(["a lamp"], ["tax law"], "sent-transformer", model)[0]

    assert same == pytest.approx(1, abs=1e-6)
    assert listed == pytest.approx((same + other) / 2, abs=1e-6)


def test_nothing_to_embed_is_nothing(model: str) -> None:
    assert similarities([], [], "sent-transformer", model) == []


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MetricUnavailableError, match="nowhere"):
        embed(["a"], "sent-transformer", str(tmp_path / "nowhere"))
