"""The trainer that training/sft.py makes of a command line, not yet trained."""

from typing import Any

from training.arguments import parse_arguments
from training.mixture import choose_rows
from training.tokenizer import load_tokenizer


def prepare_trainer(argv: list[str]) -> Any:
    from training.plan import plan_run
    from training.template_check import with_template_options
    from training.trainer import make_trainer

    script, args, model, data = parse_arguments(argv)
    train, validation, _ = choose_rows(script, data, args.seed)
    tokenizer = load_tokenizer(model, args)
    train, validation = with_template_options(tokenizer, train, validation, args.seed)
    base, data, plan = plan_run(args, model, data, tokenizer, train)
    return make_trainer(args, model, base, tokenizer, train, validation, data, plan)
