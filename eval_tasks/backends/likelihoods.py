"""Log-likelihoods of answers that are given: what a model would say of each, without a token being written.

The likelihood of a candidate is the product of its tokens' probabilities behind the prompt, computed in float32 from the
model's logits; where one candidate begins with another, that of the turn's end is a factor, too (see ScoredPrompt.ended).
Two ways give the same figures up to rounding:

- `tree_likelihoods`: prompts and candidates as trees of tokens. What all begin with is computed once, then one forward pass
  for some hundred tokens of any number of prompts, in which each token sees those that it follows from, by a mask. Nothing is
  padded, and a candidate of one token costs nothing beside its prompt.
- `plain_likelihoods`: a padded batch of whole texts, one for each candidate, with no mask but the padding's. It works with any
  causal model and is what the first is measured by.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from math import exp, log
from typing import Any

import torch

from eval_tasks.backends.chat_format import ChatFormat
from eval_tasks.backends.generation import BatchGenerator
from eval_tasks.backends.kv_buffers import ATTENTION, KVBuffers
from eval_tasks.backends.prompts import Likelihoods, ScoredPrompt
from eval_tasks.backends.shared_prefixes import prompt_groups
from eval_tasks.backends.token_tree import ScoredText, TokenTree, common, token_trees

TREE_TOKENS = 512
"""Nodes of a tree: enough for the matrices' full speed on a few cores, while the mask of all by all costs little."""

TREE_TOKENS_ON_GPU = 4096

LEAST_SHARING = 48
"""Texts below which a common beginning gets no forward pass of its own: the tree shares it anyway."""

PLAIN_ROWS = 16


@dataclass(frozen=True)
class PlacedTexts:
    """The texts of some prompts, one behind another, and of each text the place of its prompt."""

    texts: list[ScoredText]
    prompts: list[int]


def tree_likelihoods(model: Any, form: ChatFormat, placed: PlacedTexts) -> Iterator[tuple[int, Likelihoods]]:
    """(place, Likelihoods) of each prompt, as soon as all of its candidates are there. The model has ATTENTION."""
    if model.config._attn_implementation != ATTENTION:
        raise ValueError(f"the model must be loaded with attn_implementation={ATTENTION!r}")
    with torch.inference_mode():
        yield from collected(placed, _by_trees(BatchGenerator(model, form), placed.texts, end_tokens(form)))


def _by_trees(generator: BatchGenerator, texts: Sequence[ScoredText], ends: Sequence[int]) -> Iterator[tuple[int, float]]:
    most = TREE_TOKENS if generator.model.device.type == "cpu" else TREE_TOKENS_ON_GPU
    for group in prompt_groups([text.ids[: text.start] for text in texts], LEAST_SHARING):
        shared = group.shared if len(group.places) >= LEAST_SHARING else 0
        trees = list(token_trees(texts, group.places, shared, most))
        buffers = generator.buffers(1, shared + max(len(tree.tokens) for tree in trees))
        if shared:
            ids = texts[group.places[0]].ids[:shared]
            chain = torch.ones(shared, shared, dtype=torch.bool).tril()
            _forward(generator.model, ids, range(shared), chain, buffers, [shared - 1])
        for tree in trees:
            yield from _scored(generator.model, tree, texts, shared, buffers, ends)
            for layer in buffers.layers:  # the next tree takes this one's place behind the common beginning
                layer.length = shared


def _scored(
    model: Any, tree: TokenTree, texts: Sequence[ScoredText], shared: int, buffers: KVBuffers, ends: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """(text, log-likelihood) of a tree's texts."""
    paths = [path[texts[text].start - 1 - shared :] for text, path in zip(tree.texts, tree.paths, strict=True)]
    wanted = sorted({node for path in paths for node in path})
    visible = torch.from_numpy(tree.visible())
    numbers = [shared + depth for depth in tree.depths]
    logits = _forward(model, tree.tokens, numbers, visible, buffers, wanted)
    rows = {node: row for row, node in enumerate(wanted)}
    steps = [[rows[node] for node in path] for path in paths]
    yield from zip(tree.texts, summed(logits, steps, [texts[text] for text in tree.texts], ends), strict=True)


def _forward(
    model: Any, tokens: Sequence[int], numbers: Sequence[int], visible: torch.Tensor, buffers: KVBuffers, wanted: Sequence[int]
) -> torch.Tensor:
    """Logits (wanted, vocabulary) of what follows the wanted tokens, which all see what the buffers hold.

    `numbers` are the tokens' positions in their own texts, `visible` (tokens, tokens) says which of each other they see.
    """
    device, before = model.device, buffers.length
    mask = torch.zeros(1, 1, len(tokens), before + len(tokens))
    mask[0, 0, :, before:].masked_fill_(~visible, float("-inf"))
    found: torch.Tensor = model(
        input_ids=torch.tensor([tokens], device=device),
        attention_mask=mask.to(device),
        position_ids=torch.tensor([list(numbers)], device=device),
        past_key_values=buffers.cache,
        use_cache=True,
        logits_to_keep=torch.tensor(wanted, device=device),
    ).logits[0]
    return found


def plain_likelihoods(
    model: Any, form: ChatFormat, placed: PlacedTexts, rows: int = PLAIN_ROWS
) -> Iterator[tuple[int, Likelihoods]]:
    """(place, Likelihoods) of each prompt; `rows` texts go through the model together, those of about one length."""
    with torch.inference_mode():
        yield from collected(placed, _by_rows(model, placed.texts, end_tokens(form), rows))


def _by_rows(model: Any, texts: Sequence[ScoredText], ends: Sequence[int], most: int) -> Iterator[tuple[int, float]]:
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place].read))
    keeps_some = "logits_to_keep" in signature(model.forward).parameters  # older architectures give all of them
    for first in range(0, len(order), most):
        places = order[first : first + most]
        longest = len(texts[places[0]].read)
        tokens = torch.zeros(len(places), longest, dtype=torch.long)
        real = torch.zeros(len(places), longest, dtype=torch.long)
        for row, place in enumerate(places):
            read = texts[place].read
            tokens[row, : len(read)], real[row, : len(read)] = torch.tensor(read), 1
        before = min(texts[place].start for place in places) - 1  # what comes earlier predicts nothing that is scored
        kept = {"logits_to_keep": longest - before} if keeps_some else {}
        logits = model(input_ids=tokens.to(model.device), attention_mask=real.to(model.device), **kept).logits
        logits = logits[:, before - longest :]
        for row, place in enumerate(places):
            text = texts[place]
            steps = [list(range(text.start - 1 - before, len(text.read) - before))]
            yield place, summed(logits[row], steps, [text], ends)[0]


def summed(
    logits: torch.Tensor, steps: Sequence[Sequence[int]], texts: Sequence[ScoredText], ends: Sequence[int]
) -> list[float]:
    """The log-likelihood of each text, whose `steps` are the rows of `logits` (rows, vocabulary) that predict its tokens."""
    logits = logits.float()
    totals = logits.logsumexp(-1)
    ended = logits[:, list(ends)].logsumexp(-1) - totals
    chosen = [
        (row, token)
        for rows, text in zip(steps, texts, strict=True)
        for row, token in zip(rows, text.ids[text.start :], strict=False)
    ]
    rows, tokens = (torch.tensor(column, dtype=torch.long, device=logits.device) for column in zip(*chosen, strict=True))
    single = (logits[rows, tokens] - totals[rows]).double().tolist()
    last, found = ended.double().tolist(), []
    for path, text in zip(steps, texts, strict=True):
        count = len(text.ids) - text.start
        own, single = single[:count], single[count:]
        found.append(sum(own) + (last[path[-1]] if text.ended else 0.0))
    return found


def collected(placed: PlacedTexts, scores: Iterator[tuple[int, float]]) -> Iterator[tuple[int, Likelihoods]]:
    """The texts' scores by prompt, once all of a prompt's are there."""
    firsts: dict[int, int] = {}
    for text, prompt in enumerate(placed.prompts):
        firsts.setdefault(prompt, text)
    missing = Counter(placed.prompts)
    known: dict[int, float] = {}
    counts = dict(missing)
    for text, score in scores:
        known[text] = score
        prompt = placed.prompts[text]
        missing[prompt] -= 1
        if not missing[prompt]:
            yield prompt, tuple(known.pop(firsts[prompt] + number) for number in range(counts[prompt]))


def log_sum(logs: Sequence[float]) -> float:
    """The logarithm of a sum, by those of its parts."""
    most = max(logs)
    return most + log(sum(exp(value - most) for value in logs))


def placed_texts(form: ChatFormat, prompts: Sequence[ScoredPrompt], positions: int) -> PlacedTexts:
    """The tokens of every prompt with each of its candidates.

    Prompt and candidate are one text to the tokenizer, as in training, so that a token may begin in the prompt's last
    characters; what is scored is all behind the tokens that the prompt alone has, too. Where there is no room for all of
    a text, the prompt's beginning is left out. Where a think block stands before a trained answer, an empty one does here.
    """
    heads = [form.rendered(asked.prompt) + form.answer_start for asked in prompts]
    wholes = [head + candidate for head, asked in zip(heads, prompts, strict=True) for candidate in asked.candidates]
    encoded = form.tokenizer([*heads, *wholes], add_special_tokens=not form.chat)["input_ids"] if heads else []
    rest = iter(encoded[len(heads) :])
    found = PlacedTexts([], [])
    for place, (asked, head) in enumerate(zip(prompts, encoded, strict=False)):
        texts = [next(rest) for _ in asked.candidates]
        start = min(common(head, ids) for ids in texts)
        cut = min(max(max(map(len, texts)) + 1 - positions, 0), start - 1)
        found.texts.extend(ScoredText(tuple(ids[cut:]), start - cut, asked.ended) for ids in texts)
        found.prompts.extend([place] * len(texts))
    return found


def end_tokens(form: ChatFormat) -> list[int]:
    """Tokens that end an answer: those that end a turn, and without a chat template the end of the line, too."""
    newline = [] if form.chat else form.tokenizer("\n", add_special_tokens=False)["input_ids"]
    return sorted({*form.ends, *(newline if len(newline) == 1 else [])})
