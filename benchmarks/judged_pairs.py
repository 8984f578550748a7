"""Held-out judged pairs of query and product: what models tell of them by the four label words, and what needs no model."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks.real_rows import PAIRS, slices
from common.scoring import MetricUnavailableError, score_completion
from common.tasks import RELEVANCE_IN_WORDS, TASKS
from common.words import probabilities
from dataset_builders.recipes.multiple_choice import RELEVANCE
from eval_tasks.baselines.encoders import ranker, words_of
from eval_tasks.baselines.shop import baseline_answers
from eval_tasks.baselines.template_rows import TemplateRow

LABELS = tuple(RELEVANCE)
RANKERS = ("tfidf", "bm25", "minilm")
CLASSIFIERS = ("majority", "tfidf", "minilm")
"""Baselines that are fitted to the train rows, and so have an accuracy."""


@dataclass(frozen=True)
class JudgedPair:
    query: str
    product: str
    label: str

    def prompt(self) -> str:
        return RELEVANCE_IN_WORDS[0].format(query=self.query, product=self.product)


def judged_pairs(rows: Sequence[TemplateRow]) -> list[JudgedPair]:
    """The pairs of rows of query_product_relation whose wording lists the statements."""
    labels = {statement: label for label, statement in RELEVANCE.items()} | {label: label for label in LABELS}
    return [
        JudgedPair(str(row.fields["query"]), str(row.fields["product"]), labels[row.meaning()])
        for row in rows
        if row.meaning() in labels
    ]


def rows_to_score(data: Path) -> tuple[list[TemplateRow], list[TemplateRow]]:
    """All train rows of query_product_relation, and the test rows that are pairs: none where an AUC would have no meaning."""
    parts = slices(data).get(PAIRS, {}).values()
    held = [row for rows in parts for row in rows.test if judged_pairs([row])]
    known = {"exact", "irrelevant"} <= {pair.label for pair in judged_pairs(held)}
    return [row for rows in parts for row in rows.train], held if known else []


# --- Measures ---


def aucs(weights: Sequence[float], pairs: Sequence[JudgedPair], irrelevance: Sequence[float] | None = None) -> dict[str, float]:
    """AUC of `weights` for exact pairs, and for pairs that are not irrelevant, of `weights` or of 1 - `irrelevance`."""
    from sklearn.metrics import roc_auc_score

    relevance = weights if irrelevance is None else [1 - each for each in irrelevance]
    return {
        "auc_exact": float(roc_auc_score([pair.label == "exact" for pair in pairs], weights)),
        "auc_not_irrelevant": float(roc_auc_score([pair.label != "irrelevant" for pair in pairs], relevance)),
    }


def pair_scores(chances: Sequence[Sequence[float]], pairs: Sequence[JudgedPair]) -> dict[str, float]:
    """Accuracy and both AUCs, by each pair's probabilities of the labels in the order of LABELS."""
    said = [LABELS[max(range(len(LABELS)), key=each.__getitem__)] for each in chances]
    exact, irrelevant = ([each[LABELS.index(label)] for each in chances] for label in ("exact", "irrelevant"))
    right = sum(label == pair.label for label, pair in zip(said, pairs, strict=True))
    return {"accuracy": right / len(pairs), **aucs(exact, pairs, irrelevant)}


# --- Baselines and models ---


def similarity_aucs(pairs: Sequence[JudgedPair]) -> dict[str, dict[str, float]]:
    """Both AUCs of what needs no training: the share of the query's words in the title, and each ranker's similarity."""
    shares = [len((words := set(words_of(pair.query))) & set(words_of(pair.product))) / max(len(words), 1) for pair in pairs]
    found = {"overlap": aucs(shares, pairs)}
    for name in RANKERS:
        try:
            weigh = ranker(name, [text for pair in pairs for text in (pair.query, pair.product)])
        except MetricUnavailableError as error:
            print(f"warning: {name} is left out: {error}", file=sys.stderr)
            continue
        found[name] = aucs([weigh(pair.query, [pair.product])[0] for pair in pairs], pairs)
    return found


def baseline_scores(train: Sequence[TemplateRow], held: Sequence[TemplateRow]) -> dict[str, dict[str, float]]:
    """Both AUCs of each similarity of query and title, and the accuracy of classifiers that learn from the train rows."""
    found = similarity_aucs(judged_pairs(held))
    for name in CLASSIFIERS:
        if name == "minilm" and name not in found:  # it is not installed, which was said
            continue
        answers = baseline_answers(name, train, held) or []
        right = [score_completion(row.task, text, row.answer) for text, row in zip(answers, held, strict=True)]
        found[name] = {"accuracy": mean(right), **found.get(name, {})}
    return found


def label_probabilities(
    base: str, adapters: Sequence[str | None], pairs: Sequence[JudgedPair], answers: Path
) -> list[list[list[float]]]:
    """Of each adapter (None: the base), on the base loaded once, each pair's probabilities of LABELS, which sum to 1.

    They are the evaluation's own, with the adapter's tokenizer and template where it has them. Likelihoods are kept in the
    folder `answers`. Raises UserError.
    """
    from eval_tasks.backends.answer_store import AnswerStore
    from eval_tasks.backends.lighteval_model import local_folder, score_prompts, store_path
    from eval_tasks.backends.prompts import Prompt, ScoredPrompt, parse_options
    from eval_tasks.transformers_model import TransformersBackend

    folders = [local_folder(adapter, "--adapter") if adapter else None for adapter in adapters]
    options = parse_options(f"model_name={base}", TransformersBackend.OPTIONS)
    loaded = TransformersBackend.load(options, [folder for folder in folders if folder])
    store = AnswerStore(store_path(str(answers)))
    limit = TASKS[PAIRS].max_new_tokens
    texts = [pair.prompt() for pair in pairs]
    prompts = [ScoredPrompt(Prompt((("user", text),), text, limit, f"shop:{PAIRS}"), LABELS) for text in texts]
    return [[probabilities(each) for each in score_prompts(loaded, prompts, folder, store)] for folder in folders]
