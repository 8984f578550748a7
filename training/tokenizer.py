"""The tokenizer to train with: the base model's, or that of the adapter to go on from."""

from pathlib import Path
from typing import TYPE_CHECKING

from common.dataset import looks_like_path
from common.errors import UserError, first_line
from common.model_files import check_model_folder, loading
from training.rows import say

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl import ModelConfig, SFTConfig


def load_tokenizer(model: "ModelConfig", args: "SFTConfig", adapter: Path | None = None) -> "PreTrainedTokenizerBase":
    """The base model's tokenizer, or that of the adapter to go on from, with the template and end token that it learned.

    Raises UserError if there is no such model or it has no chat template.
    """
    from transformers import AutoConfig

    from training.adapters import adapter_tokenizer

    name = model.model_name_or_path
    if not name:
        raise UserError("no base model; give --model_name_or_path with a model folder or a Hub id")
    if not Path(name).exists() and looks_like_path(name):
        raise UserError(
            f"there is no model folder {name}; python -m training.embedded_model --out {name} makes a small real model"
        )
    if Path(name).is_dir():
        check_model_folder(Path(name), name)
    with loading(name, "the model", "check --model_name_or_path, or run: hf auth login"):
        config = AutoConfig.from_pretrained(name, revision=model.model_revision)
    tokenizer: PreTrainedTokenizerBase = adapter_tokenizer(name, adapter, model.model_revision)
    if args.chat_template_path is not None:
        use_template(tokenizer, name, args.chat_template_path)
        args.chat_template_path = None  # TRL would resize the model for its tokens, and the adapter would not fit its base
    if tokenizer.chat_template is None:
        raise UserError(f"the model {name} has no chat template; take its instruct version or give --chat_template_path")
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id >= config.get_text_config().vocab_size:
        say(f"the model has no weights for its padding token {tokenizer.pad_token!r}; {tokenizer.eos_token!r} pads instead")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def use_template(tokenizer: "PreTrainedTokenizerBase", name: str, path: str) -> None:
    """Gives a model's tokenizer the chat template in a Jinja file, or template and eos token of another.

    Raises UserError.
    """
    from transformers import AutoTokenizer

    if path.endswith((".jinja", ".j2")):
        try:
            tokenizer.chat_template = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot read the chat template {path}: {first_line(error)}; give --chat_template_path a .jinja file, or a "
                "folder or Hub id whose tokenizer has a template"
            ) from None
        return
    with loading(path, "the chat template", "give --chat_template_path a .jinja file, or a tokenizer that has a template"):
        source = AutoTokenizer.from_pretrained(path)
        template = str(source.get_chat_template())
    known = tokenizer.get_vocab()
    written = [str(token) for token in source.added_tokens_decoder.values() if str(token) in template]
    if new := [token for token in (*written, source.eos_token) if token not in known]:
        raise UserError(
            f"the chat template {path} writes {new[0]}, a token that {name} does not have, and a LoRA adapter holds no weights "
            "for new tokens; give --chat_template_path a template of the model's own tokens, or take its instruct version"
        )
    tokenizer.chat_template, tokenizer.eos_token = template, source.eos_token
