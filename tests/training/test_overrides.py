"""The methods of transformers' and TRL's trainers that SafeTrainer overrides: a release that changes one fails here."""

import hashlib
import inspect

import pytest
import transformers
import trl

from training.trainer import SafeTrainer

READ = {
    (trl.SFTTrainer, "compute_loss"): (
        "ca448211ff653fe6",
        "it calls the model by keywords, sums outputs.log_probs, and adds to _total_train_tokens in training",
    ),
    (transformers.Trainer, "_get_train_sampler"): ("1580d7493244e637", "it returns the sampler of the training rows' order"),
    (transformers.Trainer, "_run_epoch"): (
        "31aff00f34c302a2",
        "it is called by keywords, with `epoch`, and trains a step even when max_steps are done",
    ),
    (transformers.Trainer, "_load_optimizer_and_scheduler"): (
        "741032f57d6fb802",
        "it restores the learning rate of the earlier run into optimizer and scheduler",
    ),
    (trl.SFTTrainer, "_save_checkpoint"): ("b6ee0a370c266b6f", "it writes a card and calls transformers' own"),
    (transformers.Trainer, "_save_checkpoint"): (
        "a9111e30faa99339",
        "it writes checkpoint-STEP in the output folder and rotates by args.save_total_limit",
    ),
    (transformers.Trainer, "_get_grad_norm"): (
        "913ba6f52f074d10",
        "it is called before each optimizer step",
    ),
}
"""Hash of each method's source as it was read, and what SafeTrainer relies on."""


@pytest.mark.parametrize(("owner", "name"), READ, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_an_overridden_method_is_the_one_that_was_read(owner: type, name: str) -> None:
    known, relied_on = READ[owner, name]
    found = hashlib.sha256(inspect.getsource(vars(owner)[name]).encode()).hexdigest()[:16]
    assert found == known, (
        f"{owner.__name__}.{name} has changed: read it again beside SafeTrainer.{name} in training/trainer.py, which relies on "
        f"this: {relied_on}. If that still holds, write {found} here"
    )


def test_every_override_is_known_here() -> None:
    private = {
        name for name in vars(SafeTrainer) if hasattr(trl.SFTTrainer, name) and inspect.isfunction(vars(SafeTrainer)[name])
    }
    assert private == {name for _, name in READ}


def test_the_overridden_methods_are_called_where_they_were() -> None:
    source = inspect.getsource(transformers.Trainer)
    for _, name in READ:
        assert f"self.{name}" in source, f"transformers calls {name} no more"
