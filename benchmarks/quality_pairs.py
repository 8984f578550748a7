"""Held-out judged pairs of query and product: what models tell of them by the four label words, and what needs no model."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from benchmarks.real_rows import PAIRS, slices
from benchmarks.transfer import LABELS, PROMPT, JudgedPair, judged_pairs, pair_scores, similarity_aucs
from common.scoring import score_completion
from common.words import probabilities
from eval_tasks.baselines.shop import baseline_answers
from eval_tasks.baselines.template_rows import TemplateRow

CLASSIFIERS = ("majority", "tfidf", "minilm")
"""Baselines that are fitted to the train rows, and so have an accuracy."""


def rows_to_score(data: Path) -> tuple[list[TemplateRow], list[TemplateRow]]:
    """All train rows of query_product_relation, and the test rows that are pairs, of sources that know several labels."""
    parts = slices(data).get(PAIRS, {}).values()
    held = [row for rows in parts if rows.suffice() for row in rows.test if judged_pairs([row])]
    return [row for rows in parts for row in rows.train], held


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


def model_scores(
    base: str, adapters: Sequence[str | None], pairs: Sequence[JudgedPair], answers: Path
) -> list[dict[str, float]]:
    """Of each adapter (None: the base), on the base loaded once, accuracy and both AUCs by the likelihoods of the label words.

    Likelihoods are kept in the folder `answers`. Raises UserError.
    """
    from eval_tasks.backends.answer_store import AnswerStore
    from eval_tasks.backends.lighteval_model import local_folder, score_prompts, store_path
    from eval_tasks.backends.prompts import Prompt, ScoredPrompt, parse_options
    from eval_tasks.transformers_model import TransformersBackend

    folders = [local_folder(adapter, "--adapter") if adapter else None for adapter in adapters]
    options = parse_options(f"model_name={base}", TransformersBackend.OPTIONS)
    loaded = TransformersBackend.load(options, [folder for folder in folders if folder])
    store = AnswerStore(store_path(str(answers)))
    texts = [PROMPT.format(query=pair.query, product=pair.product) for pair in pairs]
    prompts = [ScoredPrompt(Prompt((("user", text),), text, 8, "shop:query_product_relation"), LABELS) for text in texts]
    found = (score_prompts(loaded, prompts, folder, store) for folder in folders)
    return [pair_scores([probabilities(each) for each in one], pairs) for one in found]
