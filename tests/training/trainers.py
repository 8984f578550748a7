"""The trainer that training/sft.py makes of a command line, not yet trained."""

from typing import Any

from training.arguments import parse_arguments
from training.mixture import choose_rows
from training.tokenizer import load_tokenizer


def prepare_trainer(argv: list[str]) -> Any:
    from training.batches import sample_lengths
    from training.plan import make_plan
    from training.trainer import make_trainer

    script, args, model, data = parse_arguments(argv)
    train, validation, _ = choose_rows(script, data, args.seed)
    tokenizer = load_tokenizer(model, args)
    plan = make_plan(args, model, data, sample_lengths(train, tokenizer, args.seed), len(train))
    return make_trainer(args, model, tokenizer, train, validation, data, plan)
