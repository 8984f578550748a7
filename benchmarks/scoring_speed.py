"""Scores of stored answers in bulk beside those of one at a time, of the same answers in one run.

One at a time is the loop of ShopBench's scorer: for every answer a RougeScorer, a call of sacrebleu.corpus_bleu, and
SentenceTransformer.encode of the answer and of each reference. Imports and the loading of models are counted on neither side.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from time import perf_counter
from typing import Any

from benchmarks.stored_answers import SHOPBENCH, Stored, stored_answers
from common.answers import parse_completion
from common.errors import UserError, plain_errors
from common.tasks import TASKS
from eval_tasks.metrics.shopbench import PARSERS, TASK_TYPES

KINDS = (*TASKS, *SHOPBENCH)


@dataclass(frozen=True)
class Timed:
    """A kind's scores one at a time and in bulk, and the seconds: of each answer alone, and of all in bulk."""

    kind: str
    alone: list[Any]
    bulk: list[Any]
    seconds: list[float]
    bulk_seconds: float

    @property
    def alone_seconds(self) -> float:
        return sum(self.seconds)

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


def timed(kind: str, stored: Sequence[Stored], encode: Callable[[str], Any]) -> Timed:
    first = replace(stored[0], text="2, 1, a first text")  # imports what both sides need
    in_bulk(kind, [first])
    one_at_a_time(first, encode)
    started = perf_counter()
    bulk = in_bulk(kind, stored)
    ends = [perf_counter()]
    alone = []
    for answer in stored:
        alone.append(one_at_a_time(answer, encode))
        ends.append(perf_counter())
    return Timed(kind, alone, bulk, [end - begin for begin, end in pairwise(ends)], ends[0] - started)


def encoder() -> Callable[[str], Any]:
    """Encodes one text, by the model that the bulk has too."""
    from eval_tasks.metrics.embeddings import load_sentence_model, sentence_model

    model = load_sentence_model(sentence_model("sent-transformer"))
    return lambda text: model.encode([text], show_progress_bar=False)[0]


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.eval scoring", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--answers", type=int, default=20_000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--models", type=int, default=5, metavar="N", help="that gave them, to the same rows (default: 5)")
    parser.add_argument("--backends", type=int, default=4, metavar="N", help="through which each did (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    runs = arguments.models * arguments.backends
    if arguments.models < 1 or arguments.backends < 1 or arguments.answers < runs * len(KINDS):
        raise UserError(f"--answers must be at least {len(KINDS)}, the kinds of answers, times --models times --backends")
    return arguments


def main(argv: Sequence[str]) -> None:
    arguments = parse_arguments(argv)

    import torch
    from rich.console import Console
    from rich.progress import track

    rows = arguments.answers // (arguments.models * arguments.backends * len(KINDS))
    answers = stored_answers(rows, arguments.models, arguments.backends, arguments.seed)
    encode = encoder()
    by_kind = [[answer for answer in answers if answer.kind == kind] for kind in KINDS]
    found = [
        timed(kind, stored, encode)
        for kind, stored in track(list(zip(KINDS, by_kind, strict=True)), "Scoring", console=Console(stderr=True))
    ]
    print_table(found)
    slow, fast = (sum(getattr(kind, side) for kind in found) for side in ("alone_seconds", "bulk_seconds"))
    different = len({(answer.kind, answer.text, str(answer.truth)) for answer in answers})
    print(f"{different:,} of the {len(answers):,} answers differ from each other.")
    print(
        json.dumps(
            {
                "ratio": slow / fast,
                "ratio_of_different_answers": sum(map(seconds_of_different, found, by_kind)) / fast,
                "answers": len(answers),
                "different_answers": different,
                "models": arguments.models,
                "backends": arguments.backends,
                "answers_per_second": len(answers) / fast,
                "one_at_a_time_per_second": len(answers) / slow,
                "largest_difference": max(kind.difference for kind in found),
                "identical": sum(kind.identical for kind in found) / len(answers),
                "ratios": {kind.kind: round(kind.alone_seconds / kind.bulk_seconds, 2) for kind in found},
                "threads": torch.get_num_threads(),
                "seed": arguments.seed,
            }
        )
    )


def seconds_of_different(timed: Timed, stored: Sequence[Stored]) -> float:
    """What one at a time takes where an answer that came before is not scored again."""
    firsts = {(answer.text, str(answer.truth)): seconds for answer, seconds in zip(stored, timed.seconds, strict=True)}
    return sum(firsts.values())


def print_table(found: Sequence[Timed]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("kind")
    for title in ("answers", "one at a time, s", "in bulk, s", "ratio", "identical", "largest difference"):
        table.add_column(title, justify="right")
    for kind in found:
        table.add_row(
            kind.kind,
            f"{len(kind.bulk):,}",
            f"{kind.alone_seconds:.3f}",
            f"{kind.bulk_seconds:.3f}",
            f"{kind.alone_seconds / kind.bulk_seconds:.1f}",
            f"{kind.identical:,}",
            f"{kind.difference:.0e}" if kind.difference else "0",
        )
    Console(width=None if Console().is_terminal else 120).print(table)


if __name__ == "__main__":
    import sys

    with plain_errors():
        main(sys.argv[1:])
