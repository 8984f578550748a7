"""Prompts and their answers as token ids, in the chat template where there is one."""

from typing import Any

from common.thinking import CLOSE, opens_thoughts, template_arguments


def token_ids(tokenizer: Any, prompt: str, answer: str | None = None) -> list[int]:
    """Token ids of the prompt, ready for generation, or of prompt and answer; in the chat template if there is one."""
    if not tokenizer.chat_template:
        completion = tokenizer(answer or "", add_special_tokens=False)["input_ids"]
        return [*tokenizer(prompt)["input_ids"], *completion]
    turns = [{"role": "user", "content": prompt}]
    if answer is not None:
        turns.append({"role": "assistant", "content": answer})
    arguments = template_arguments(tokenizer.get_chat_template())
    return list(tokenizer.apply_chat_template(turns, add_generation_prompt=answer is None, return_dict=False, **arguments))


def text_ids(tokenizer: Any, prompt: str, text: str) -> tuple[list[int], list[int]]:
    """Token ids of the prompt and of the text as its answer, without the end of the turn.

    Both are one text to the tokenizer, as in training: what the prompt alone has, too, is the prompt's.
    """
    head = prompt
    if tokenizer.chat_template:
        turns, arguments = [{"role": "user", "content": prompt}], template_arguments(tokenizer.get_chat_template())
        head = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **arguments)
        head += CLOSE if opens_thoughts(head) else ""
    special = not tokenizer.chat_template
    asked, whole = (tokenizer(each, add_special_tokens=special)["input_ids"] for each in (head, head + text))
    alike = next((place for place, (one, other) in enumerate(zip(asked, whole, strict=False)) if one != other), len(asked))
    start = max(min(alike, len(whole) - 1), 1)
    return whole[:start], whole[start:]


def first_tokens(prompt: list[int], answers: list[list[int]]) -> list[int]:
    """The first token after the prompt in each of `answers`; empty where one has none or two have the same."""
    known = all(answer[: len(prompt)] == prompt and len(answer) > len(prompt) for answer in answers)
    firsts = [answer[len(prompt)] for answer in answers] if known else []
    return firsts if len(set(firsts)) == len(firsts) else []
