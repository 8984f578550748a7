"""Scores of stored answers in bulk beside those of one at a time, of the same answers in one run.

    python -m benchmarks.scoring_speed

One at a time is the loop of ShopBench's scorer: for every answer a RougeScorer, a call of sacrebleu.corpus_bleu, and
SentenceTransformer.encode of the answer and of each reference. Imports and the loading of models are counted on neither side.
The last line is JSON.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmarks.measure import timed
from benchmarks.stored_answers import SHOPBENCH, Stored, stored_answers
from common.answers import parse_completion
from common.console import print_table
from common.errors import UserError, plain_errors
from common.tasks import TASKS
from eval_tasks.metrics.shopbench import PARSERS, TASK_TYPES

KINDS = (*TASKS, *SHOPBENCH)


@dataclass(frozen=True)
class KindScores:
    """A kind's scores one at a time and in bulk, and the seconds: of each answer alone, and of all in bulk."""

    kind: str
    alone: list[Any]
    bulk: list[Any]
    seconds: list[float]
    bulk_seconds: float

    @property
    def difference(self) -> float:
        """The largest between two scores of an answer."""
        import numpy as np

        return float(np.max(np.abs(np.array(self.alone, float) - np.array(self.bulk, float))))

    @property
    def identical(self) -> int:
        return sum(one == other for one, other in zip(self.alone, self.bulk, strict=True))


# --- One at a time ---


def one_at_a_time(stored: Stored, encode: Callable[[str], Any]) -> Any:
    """The score of an answer with nothing kept from the one before."""
    task = TASKS.get(stored.kind)
    metric = task.metric if task else stored.kind
    said: Any = parse_completion(task, stored.text) if task else PARSERS[TASK_TYPES[stored.kind]](stored.text)
    if said is None:
        return 0.0
    return _ALONE[metric](said, stored.truth) if metric != "sent-transformer" else _cosine(encode(said), encode(stored.truth))


def _rouge(said: str, truth: str) -> float:
    from rouge_score import rouge_scorer

    if said == truth:  # scores 1, unless there is no token in it
        return 1.0
    return float(rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True).score(said, truth)["rougeL"].fmeasure)


def _bleu(said: str, truth: str, tokenizer: str = "13a") -> float:
    import sacrebleu

    line = said.strip("\n").split("\n")[0]
    return float(sacrebleu.corpus_bleu([line], [[truth]], lowercase=True, tokenize=tokenizer).score) / 100


def _ndcg(order: Sequence[int], weights: Sequence[float]) -> float:
    import numpy as np

    gains = [weights[number - 1] for number in order]
    sums = [
        sum((np.power(2, gain) - 1) / np.log2(place + 2) for place, gain in enumerate(each))
        for each in (gains, sorted(weights, reverse=True))
    ]
    return float(sums[0] / sums[1]) if sums[1] else 0.0


def _counts(said: Sequence[str], truth: Sequence[str]) -> tuple[int, int, int]:
    lowered = [entity.lower().strip() for entity in said]
    wanted = [entity.lower() for entity in truth]
    hits = len(set(lowered) & set(wanted))
    return hits, len(lowered) - hits, len(wanted) - hits


def _cosine(one: Any, other: Any) -> Any:
    import numpy as np

    return max((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other)), 0)


_ALONE: dict[str, Callable[[Any, Any], Any]] = {
    "accuracy": lambda said, truth: float(said == truth),
    "hit_rate": lambda said, truth: len(set(truth) & set(said[: len(truth)])) / len(truth),
    "hit rate@3": lambda said, truth: len(set(truth) & set(said[:3])) / len(truth),
    "ndcg": _ndcg,
    "micro f1": _counts,
    "rougel": _rouge,
    "bleu": _bleu,
    "jp-bleu": lambda said, truth: _bleu(said, truth, "ja-mecab"),
}


# --- In bulk ---


def in_bulk(kind: str, stored: Sequence[Stored]) -> list[Any]:
    """The scores of all answers of a kind."""
    from common.scoring import score_completion
    from eval_tasks.suites.shopbench_rows import ShopBenchRow
    from eval_tasks.suites.shopbench_scoring import score_samples

    if kind in TASKS:
        return [score_completion(TASKS[kind], answer.text, answer.truth) for answer in stored]
    rows = [ShopBenchRow("", answer.truth, kind, TASK_TYPES[kind], kind) for answer in stored]
    return [sample.score for sample in score_samples(rows, [answer.text for answer in stored])]


def both_ways(kind: str, stored: Sequence[Stored], encode: Callable[[str], Any]) -> KindScores:
    first = replace(stored[0], text="2, 1, a first text")  # imports what both sides need
    in_bulk(kind, [first])
    one_at_a_time(first, encode)
    bulk = timed(lambda: in_bulk(kind, stored))
    alone = [timed(partial(one_at_a_time, answer, encode)) for answer in stored]
    return KindScores(kind, [one.result for one in alone], bulk.result, [one.seconds for one in alone], bulk.seconds)


def encoder() -> Callable[[str], Any]:
    """Encodes one text, by the model that the bulk has too."""
    from eval_tasks.metrics.embeddings import load_sentence_model, sentence_model

    model = load_sentence_model(sentence_model("sent-transformer"))
    return lambda text: model.encode([text], show_progress_bar=False)[0]


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring_speed", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--answers", type=int, default=20_000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--models", type=int, default=5, metavar="N", help="that gave them, to the same rows (default: 5)")
    parser.add_argument("--backends", type=int, default=4, metavar="N", help="through which each did (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    runs = arguments.models * arguments.backends
    if arguments.models < 1 or arguments.backends < 1 or arguments.answers < runs * len(KINDS):
        raise UserError(f"--answers must be at least {len(KINDS)}, the kinds of answers, times --models times --backends")
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)

    import torch
    from rich.console import Console
    from rich.progress import track

    rows = arguments.answers // (arguments.models * arguments.backends * len(KINDS))
    answers = stored_answers(rows, arguments.models, arguments.backends, arguments.seed)
    encode = encoder()
    by_kind = {kind: [answer for answer in answers if answer.kind == kind] for kind in KINDS}
    progress = track(by_kind.items(), "Scoring", len(KINDS), console=Console(stderr=True))
    found = [both_ways(kind, stored, encode) for kind, stored in progress]
    lines = [
        (
            each.kind,
            f"{len(each.bulk):,}",
            f"{sum(each.seconds):.3f}",
            f"{each.bulk_seconds:.3f}",
            f"{sum(each.seconds) / each.bulk_seconds:.1f}",
            f"{each.identical:,}",
            f"{each.difference:.0e}" if each.difference else "0",
        )
        for each in found
    ]
    print_table(("kind", "answers", "one at a time, s", "in bulk, s", "ratio", "identical", "largest difference"), lines)
    slow, fast = sum(sum(each.seconds) for each in found), sum(each.bulk_seconds for each in found)
    # What one at a time takes where an answer that came before is not scored again.
    firsts = {
        (answer.kind, answer.text, str(answer.truth)): seconds
        for each in found
        for answer, seconds in zip(by_kind[each.kind], each.seconds, strict=True)
    }
    figures = {
        "ratio": slow / fast,
        "ratio_of_different_answers": sum(firsts.values()) / fast,
        "answers": len(answers),
        "different_answers": len(firsts),
        "largest_difference": max(each.difference for each in found),
        "identical": sum(each.identical for each in found) / len(answers),
        "ratios": {each.kind: round(sum(each.seconds) / each.bulk_seconds, 2) for each in found},
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(vars(arguments) | figures))


if __name__ == "__main__":
    with plain_errors():
        main()
