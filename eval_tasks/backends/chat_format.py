"""How a model is asked and its answers are read: its tokenizer, the arguments of its chat template, and its end tokens.

An adapter is asked with its own tokenizer, chat template and end tokens where its folder has them, as its merged model is.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError, first_line
from common.thinking import CLOSE, OPEN, argument_value, opens_thoughts, template_arguments
from eval_tasks.backends.prompts import Prompt
from training.adapters import adapter_tokenizer

if TYPE_CHECKING:
    from llguidance import LLTokenizer

TEMPLATE = "template."
"""Prefix of model options that are arguments of the chat template: template.enable_thinking=false."""


FORMAT = "format 3"
"""Changes when prompts are rendered or answers are read otherwise, so that stored answers are not taken for new ones."""


@dataclass(frozen=True)
class ChatFormat:
    """`arguments` are those of the chat template, `ends` the tokens that end an answer, `vocabulary` the number of logits."""

    tokenizer: Any
    ends: frozenset[int]
    arguments: Mapping[str, Any]
    vocabulary: int = 0

    @property
    def chat(self) -> bool:
        """Whether the model has a chat template; without one, it reads plain text and ends at stop sequences."""
        return self.tokenizer.chat_template is not None

    @cached_property
    def grammar(self) -> "LLTokenizer":
        """What limits decoding; made once, since it takes a second."""
        from eval_tasks.backends.constrained_decoding import grammar_tokenizer

        return grammar_tokenizer(self.tokenizer, self.vocabulary)

    def rendered(self, prompt: Prompt) -> str:
        """The prompt as the model reads it. Raises UserError where the chat template refuses it."""
        return rendered(self.tokenizer, prompt, self.arguments)

    def prompt_ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """The tokens of each prompt. Raises UserError."""
        texts = [self.rendered(prompt) for prompt in prompts]
        return list(self.tokenizer(texts, add_special_tokens=not self.chat)["input_ids"]) if texts else []

    def text(self, written: Sequence[int]) -> str:
        """The text of an answer's tokens, with reasoning in a think block, whatever the template's own form of it is."""
        text = str(self.tokenizer.decode(written, skip_special_tokens=True))
        if self.opens_thoughts:
            return OPEN + text
        if not self.header:
            return text
        whole = str(self.tokenizer.decode(written))
        thoughts, found, answer = whole.rpartition(self.header)
        if not whole.lstrip().startswith(self._special_start) or (found and not thoughts.strip()):
            return self._plain(answer) if found else text
        return OPEN + (f"{self._plain(thoughts)}{CLOSE}{self._plain(answer)}" if found else self._plain(whole))

    @cached_property
    def _generation_prompt(self) -> str:
        return self.rendered(Prompt((("user", "a"),), "a", 1)) if self.chat else ""

    @cached_property
    def opens_thoughts(self) -> bool:
        """Whether the template itself opens a think block, as DeepSeek-R1's does."""
        return opens_thoughts(self._generation_prompt)

    @cached_property
    def header(self) -> str:
        """What the template writes between an answer's prompt and its text, where that begins with a special token.

        gpt-oss answers `<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>2`.
        """
        return self._before_answer if self._before_answer.startswith(self._special_tokens) else ""

    @cached_property
    def answer_start(self) -> str:
        """What stands between a prompt and an answer that is given: the header, or a closed think block."""
        if self.opens_thoughts:
            return CLOSE
        return self._before_answer if CLOSE in self._before_answer else self.header

    @cached_property
    def _before_answer(self) -> str:
        if not self.chat:
            return ""
        mark = "MARK7"
        messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": mark}]
        whole = _applied(self.tokenizer, messages, False, self.arguments)
        prompt = self._generation_prompt
        return whole[len(prompt) : whole.find(mark)] if whole.startswith(prompt) and mark in whole else ""

    @cached_property
    def _special_tokens(self) -> tuple[str, ...]:
        return tuple(str(token) for token in self.tokenizer.added_tokens_decoder.values() if token.special)

    @cached_property
    def _special_start(self) -> str:
        return max((token for token in self._special_tokens if self.header.startswith(token)), key=len)

    def _plain(self, text: str) -> str:
        for token in self._special_tokens:
            text = text.replace(token, "")
        return text


def rendered(tokenizer: Any, prompt: Prompt, arguments: Mapping[str, Any] | None = None) -> str:
    """The prompt by the chat template with these arguments, or plain where there is no template. Raises UserError."""
    if tokenizer.chat_template is None:
        return prompt.plain
    return _applied(tokenizer, prompt.chat(), True, arguments or {})


def _applied(tokenizer: Any, messages: list[dict[str, str]], generation: bool, arguments: Mapping[str, Any]) -> str:
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation, **arguments))
    except (TemplateError, TypeError, ValueError) as error:
        roles = ", ".join(message["role"] for message in messages)
        raise UserError(f"the model's chat template refuses the turns {roles}: {first_line(error)}") from None


def load_format(
    base: Path, adapter: Path | None, options: Mapping[str, str], model_ends: Iterable[int], vocabulary: int
) -> ChatFormat:
    """The format of a base, or of an adapter on it. `model_ends`: of the model's generation config, such as Llama 3's two.

    Raises UserError.
    """
    tokenizer = adapter_tokenizer(str(base), adapter)
    ends = frozenset(token for token in (*model_ends, tokenizer.eos_token_id) if token is not None)
    template = tokenizer.get_chat_template() if tokenizer.chat_template is not None else None
    form = ChatFormat(tokenizer, ends, template_arguments(template, given_arguments(options)), vocabulary)
    (asked,) = form.prompt_ids([Prompt((("user", "a"),), "a", 1)])
    # Tokens that were added may stay without weights as long as nobody writes them, as for padding.
    highest = max(*asked, tokenizer.vocab_size - 1, -1 if tokenizer.eos_token_id is None else tokenizer.eos_token_id)
    if vocabulary and highest >= vocabulary:
        raise UserError(
            f"the tokenizer of {adapter or base} writes {tokenizer.decode([highest])!r}, number {highest:,}, and the model has "
            f"weights for {vocabulary:,}; take the base that it was trained with"
        )
    return form


def given_arguments(options: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of the chat template among a model's options."""
    return {name.removeprefix(TEMPLATE): argument_value(text) for name, text in options.items() if name.startswith(TEMPLATE)}


def format_identity(options: Mapping[str, str]) -> tuple[str, ...]:
    """What answers depend on besides the files of base and adapter."""
    given = given_arguments(options)
    return (FORMAT, *([json.dumps(given, sort_keys=True)] if given else []))


def kept_ids(prompts: Sequence[Prompt], form: ChatFormat, positions: int) -> list[list[int]]:
    """The tokens of each prompt, the first left out where there is no room for the answer: the end says what to do."""
    whole = form.prompt_ids(prompts)
    return [ids[-max(positions - prompt.max_new_tokens, 1) :] for ids, prompt in zip(whole, prompts, strict=True)]


def tokens_cut(prompts: Sequence[Prompt], form: ChatFormat, positions: int) -> list[int]:
    """How many tokens of each prompt have no room."""
    whole, kept = form.prompt_ids(prompts), kept_ids(prompts, form, positions)
    return [len(ids) - len(rest) for ids, rest in zip(whole, kept, strict=True)]
