"""What an adapter trained on sample rows carries over to real pairs of query and product that it never saw.

    python -m benchmarks.transfer --real DIR --base MODEL [--adapter DIR]

Scores each pair by the probabilities of the four label words as answers, and tells the AUC for exact and for not irrelevant,
beside those of word overlap, TF-IDF, BM25 and MiniLM on the same pairs. The last line is JSON.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.real_rows import PAIRS, make_real, slices
from common.errors import UserError, plain_errors
from common.scoring import MetricUnavailableError
from common.tasks import RELEVANCE_IN_WORDS, TASKS
from common.words import probabilities
from dataset_builders.recipes.multiple_choice import RELEVANCE
from eval_tasks.baselines.encoders import ranker, words_of
from eval_tasks.baselines.template_rows import TemplateRow

LABELS = tuple(RELEVANCE)
RANKERS = ("tfidf", "bm25", "minilm")
PROMPT = RELEVANCE_IN_WORDS[0]


@dataclass(frozen=True)
class JudgedPair:
    query: str
    product: str
    label: str


def judged_pairs(rows: Sequence[TemplateRow]) -> list[JudgedPair]:
    """The pairs of rows of query_product_relation whose wording lists the statements."""
    labels = {statement: label for label, statement in RELEVANCE.items()} | {label: label for label in LABELS}
    return [
        JudgedPair(str(row.fields["query"]), str(row.fields["product"]), labels[row.meaning()])
        for row in rows
        if row.meaning() in labels
    ]


def aucs(weights: Sequence[float], pairs: Sequence[JudgedPair], irrelevance: Sequence[float] | None = None) -> dict[str, float]:
    """AUC of `weights` for exact pairs, and for pairs that are not irrelevant, of `weights` or of 1 - `irrelevance`."""
    from sklearn.metrics import roc_auc_score

    relevance = weights if irrelevance is None else [1 - each for each in irrelevance]
    return {
        "auc_exact": float(roc_auc_score([pair.label == "exact" for pair in pairs], weights)),
        "auc_not_irrelevant": float(roc_auc_score([pair.label != "irrelevant" for pair in pairs], relevance)),
    }


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


def score_pairs(base: str, adapter: str | None, pairs: Sequence[JudgedPair]) -> dict[str, float]:
    """Accuracy and both AUCs by the probabilities of the four label words."""
    prompts = [PROMPT.format(query=pair.query, product=pair.product) for pair in pairs]
    return pair_scores(label_probabilities(base, adapter, prompts), pairs)


def pair_scores(chances: Sequence[Sequence[float]], pairs: Sequence[JudgedPair]) -> dict[str, float]:
    """Accuracy and both AUCs, by each pair's probabilities of the labels in the order of LABELS."""
    said = [LABELS[max(range(len(LABELS)), key=each.__getitem__)] for each in chances]
    exact, irrelevant = ([each[LABELS.index(label)] for each in chances] for label in ("exact", "irrelevant"))
    right = sum(label == pair.label for label, pair in zip(said, pairs, strict=True))
    return {"accuracy": right / len(pairs), **aucs(exact, pairs, irrelevant)}


def label_probabilities(base: str, adapter: str | None, prompts: Sequence[str]) -> list[list[float]]:
    """Of each prompt the probabilities of the four label words as its answer, in the order of LABELS; they sum to 1.

    They are the evaluation's own, in float32: with the adapter's tokenizer and template where it has them. Raises UserError.
    """
    from eval_tasks.backends.lighteval_model import local_folder
    from eval_tasks.backends.prompts import Prompt, ScoredPrompt, parse_options
    from eval_tasks.transformers_model import TransformersBackend, load

    options = parse_options("model_name=base,dtype=float32", TransformersBackend.OPTIONS) | {"model_name": base}
    folder = local_folder(adapter, "--adapter") if adapter else None
    loaded = load(options, [folder] if folder else [])
    limit = TASKS["query_product_relation"].max_new_tokens
    asked = [ScoredPrompt(Prompt((("user", prompt),), prompt, limit), LABELS) for prompt in prompts]
    found = dict(loaded.score(asked, folder))
    return [probabilities(found[place]) for place in range(len(prompts))]


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--real", type=Path, required=True, metavar="DIR", help="real raw files (see benchmarks/README.md)")
    parser.add_argument("--base", required=True, metavar="MODEL", help="folder or Hub id of the base model")
    parser.add_argument("--adapter", metavar="DIR", help="adapter trained on sample rows alone (default: the base by itself)")
    parser.add_argument("--pairs", type=int, default=400, metavar="N", help="real pairs to score (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    return parser.parse_args(argv)


def main() -> None:
    arguments = parse_arguments(sys.argv[1:])
    if arguments.pairs < 1:
        raise UserError(f"--pairs {arguments.pairs} scores nothing. Give 1 or more.")
    with tempfile.TemporaryDirectory() as folder:
        known = slices(make_real(arguments.real, Path(folder), arguments.seed)).get(PAIRS, {})
    pairs = judged_pairs([row for rows in known.values() if rows.suffice() for row in (*rows.test, *rows.train)])
    pairs = pairs[: arguments.pairs]
    if not {"exact", "irrelevant"} <= {pair.label for pair in pairs}:
        raise UserError(
            f"{arguments.real} holds too few judged pairs; add ECInstruct's Multiclass_Product_Classification.json."
        )
    found = {**similarity_aucs(pairs), "model": score_pairs(arguments.base, arguments.adapter, pairs)}
    for name, each in found.items():
        print(f"{name:8} " + "  ".join(f"{measure} {score:.3f}" for measure, score in each.items()))
    print(json.dumps({"pairs": len(pairs), "base": arguments.base, "adapter": arguments.adapter, **found}))


if __name__ == "__main__":
    with plain_errors():
        main()
