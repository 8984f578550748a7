"""The base model's tokenizer."""

from pathlib import Path
from typing import TYPE_CHECKING

from common.dataset import looks_like_path
from common.errors import UserError, first_line
from training.base_model import check_weights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl import ModelConfig, SFTConfig


def load_tokenizer(model: "ModelConfig", args: "SFTConfig") -> "PreTrainedTokenizerBase":
    """The base model's tokenizer. Raises UserError if there is no such model or it has no chat template."""
    from huggingface_hub.errors import GatedRepoError
    from transformers import AutoConfig, AutoTokenizer

    name = model.model_name_or_path
    if not name:
        raise UserError("no base model; give --model_name_or_path with a model folder or a Hub id")
    if not Path(name).exists() and looks_like_path(name):
        raise UserError(
            f"there is no model folder {name}; python -m training.embedded_model --out {name} makes a small real model"
        )
    check_weights(name)
    try:
        AutoConfig.from_pretrained(name, revision=model.model_revision)
        tokenizer = AutoTokenizer.from_pretrained(name, revision=model.model_revision)
    except (OSError, ValueError) as error:
        if isinstance(error, GatedRepoError) or isinstance(error.__cause__, GatedRepoError):
            raise UserError(f"the model {name} is gated; accept its terms on its page, then run: hf auth login") from None
        raise UserError(
            f"cannot load the model {name}: {first_line(error)}; check --model_name_or_path, or run: hf auth login"
        ) from None
    if args.chat_template_path is not None:  # TRL takes it too, with its tokens, but later than the plan is made
        tokenizer.chat_template = read_template(args.chat_template_path)
    if tokenizer.chat_template is None:
        raise UserError(f"the model {name} has no chat template; take its instruct version or give --chat_template_path")
    return tokenizer


def read_template(path: str) -> str:
    """The chat template in a Jinja file, or that of the tokenizer in a folder or on the Hub. Raises UserError."""
    from transformers import AutoTokenizer

    try:
        if path.endswith((".jinja", ".j2")):
            return Path(path).read_text(encoding="utf-8")
        return str(AutoTokenizer.from_pretrained(path).get_chat_template())
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read the chat template {path}: {first_line(error)}; give --chat_template_path a .jinja file, or a folder "
            "or Hub id whose tokenizer has a template"
        ) from None
