"""A query's products scored as `rank` does, with what their prompts share computed once, beside a full forward pass a product.

The full pass reads the whole prompt, alone and so without padding, and takes the likelihoods of the labels' first tokens from
the logits behind it; `rank` has those of whole labels. Both ways use the same loaded model and threads; neither loading nor
tokenizing is counted. CPU seconds are of all threads: beside other work the steadier figure.
"""

import argparse
import json
from collections.abc import Sequence
from time import perf_counter, process_time
from typing import Any

from common.errors import UserError
from common.tasks import TASKS
from common.words import expected_gain
from eval_tasks.prediction.input_rows import open_input
from eval_tasks.prediction.questions import row_form


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict ranking", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--input", required=True, metavar="FILE", help="rows of query and products")
    parser.add_argument("--model", required=True, help="folder or Hub id")
    parser.add_argument("--products", type=int, default=100, metavar="N", help="of the first list (default: %(default)s)")
    parser.add_argument("--dtype", default="bfloat16", help="(default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    arguments = parse_arguments(argv)
    table = open_input(arguments.input)
    form = row_form("query_product_ranking", True, list(table.columns), {})
    values = next(table.read()).values
    fields = form.fields(values)
    fields["products"] = fields["products"][: arguments.products]
    if len(fields["products"]) < arguments.products:
        raise UserError(f"the first list of {arguments.input} has only {len(fields['products'])} products; give --products")
    prompts: list[Any] = form.prompts(fields)

    import torch
    import transformers

    from eval_tasks.backends.chat_format import load_format
    from eval_tasks.backends.engine import context_length
    from eval_tasks.backends.kv_buffers import ATTENTION
    from eval_tasks.backends.lighteval_model import local_folder
    from eval_tasks.backends.likelihoods import placed_texts, tree_likelihoods
    from eval_tasks.backends.token_tree import common
    from eval_tasks.transformers_model import greedy, vocabulary

    folder = local_folder(arguments.model)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=arguments.dtype)
    model.eval()
    chat = load_format(folder, None, {}, greedy(model), vocabulary(model))
    placed = placed_texts(chat, prompts, context_length(model.config))
    labels = len(prompts[0].candidates)
    texts = [placed.texts[place : place + labels] for place in range(0, len(placed.texts), labels)]

    def one_pass(own: Sequence[Any]) -> tuple[float, ...]:
        """By the labels' first tokens."""
        ids = torch.tensor([own[0].ids[: own[0].start]])
        logs = model(input_ids=ids, logits_to_keep=1).logits[0, -1].float().log_softmax(-1)
        return tuple(float(logs[text.ids[text.start]]) for text in own)

    found, seconds, busy = {}, {}, {}
    with torch.inference_mode():
        one_pass(texts[0])  # the first pass allocates
        started, cpu = perf_counter(), process_time()
        found["full"] = [one_pass(own) for own in texts]
        seconds["full"], busy["full"] = perf_counter() - started, process_time() - cpu
    model.set_attn_implementation(ATTENTION)
    started, cpu = perf_counter(), process_time()
    trees = dict(tree_likelihoods(model, chat, placed))
    seconds["shared"], busy["shared"] = perf_counter() - started, process_time() - cpu
    found["shared"] = [trees[place] for place in range(len(prompts))]

    words = TASKS["query_product_ranking"].words
    assert words
    orders = [sorted(range(len(prompts)), key=lambda place: -expected_gain(words, each[place])) for each in found.values()]
    print(
        json.dumps(
            {
                "products": len(prompts),
                "tokens_a_prompt": round(sum(own[0].start for own in texts) / len(texts), 1),
                "shared_tokens": min(common(texts[0][0].ids, own[0].ids) for own in texts),
                "seconds": {way: round(spent, 2) for way, spent in seconds.items()},
                "cpu_seconds": {way: round(spent, 2) for way, spent in busy.items()},
                "same_first_ten": len(set(orders[0][:10]) & set(orders[1][:10])),
                "dtype": arguments.dtype,
                "threads": torch.get_num_threads(),
                "cpu_ratio": round(busy["full"] / busy["shared"], 2),
                "ratio": round(seconds["full"] / seconds["shared"], 2),
            }
        )
    )
