"""A query's products scored as `rank` does, with what their prompts share computed once, beside a full forward pass a product.

    python -m benchmarks.rank_speed --input PAIRS --model MODEL

The full pass reads the whole prompt, alone and so without padding, and takes the likelihoods of the labels' first tokens from
the logits behind it; `rank` has those of whole labels. Both ways use the same loaded model and threads; neither loading nor
tokenizing is counted. CPU seconds are of all threads: beside other work the steadier figure. The last line is JSON.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from benchmarks.likelihood_speed import load_texts
from benchmarks.measure import timed
from common.errors import UserError, plain_errors
from common.tasks import TASKS
from common.words import best_first
from eval_tasks.prediction.input_rows import open_input
from eval_tasks.prediction.questions import row_form


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rank_speed", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--input", required=True, metavar="FILE", help="rows of query and products")
    parser.add_argument("--model", required=True, help="folder or Hub id")
    parser.add_argument("--products", type=int, default=100, metavar="N", help="of the first list (default: %(default)s)")
    parser.add_argument("--dtype", default="bfloat16", help="(default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    table = open_input(arguments.input)
    form = row_form("query_product_ranking", True, list(table.columns), {})
    fields = form.fields(next(table.read()).values)
    fields["products"] = fields["products"][: arguments.products]
    if len(fields["products"]) < arguments.products:
        raise UserError(f"the first list of {arguments.input} has only {len(fields['products'])} products; give --products")
    prompts: list[Any] = form.prompts(fields)

    import torch

    from eval_tasks.backends.kv_buffers import ATTENTION
    from eval_tasks.backends.likelihoods import tree_likelihoods
    from eval_tasks.backends.token_tree import common

    model, chat, placed = load_texts(arguments.model, arguments.dtype, prompts)
    labels = len(prompts[0].candidates)
    texts = [placed.texts[place : place + labels] for place in range(0, len(placed.texts), labels)]

    def one_pass(own: Sequence[Any]) -> tuple[float, ...]:
        """By the labels' first tokens."""
        ids = torch.tensor([own[0].ids[: own[0].start]])
        logs = model(input_ids=ids, logits_to_keep=1).logits[0, -1].float().log_softmax(-1)
        return tuple(float(logs[text.ids[text.start]]) for text in own)

    with torch.inference_mode():
        one_pass(texts[0])  # the first pass allocates
        full = timed(lambda: [one_pass(own) for own in texts])
    model.set_attn_implementation(ATTENTION)
    trees = timed(lambda: dict(tree_likelihoods(model, chat, placed)))

    words = TASKS["query_product_ranking"].words
    assert words
    shared = [trees.result[place] for place in range(len(prompts))]
    first_ten = [set(best_first(words, found)[:10]) for found in (full.result, shared)]
    figures = {
        "products": len(prompts),
        "tokens_a_prompt": round(sum(own[0].start for own in texts) / len(texts), 1),
        "shared_tokens": min(common(texts[0][0].ids, own[0].ids) for own in texts),
        "seconds": {"full": round(full.seconds, 2), "shared": round(trees.seconds, 2)},
        "cpu_seconds": {"full": round(full.cpu_seconds, 2), "shared": round(trees.cpu_seconds, 2)},
        "same_first_ten": len(set.intersection(*first_ten)),
        "dtype": arguments.dtype,
        "threads": torch.get_num_threads(),
        "cpu_ratio": round(full.cpu_seconds / trees.cpu_seconds, 2),
        "ratio": round(full.seconds / trees.seconds, 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    with plain_errors():
        main()
