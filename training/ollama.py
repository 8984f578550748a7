"""Writes the Modelfile by which Ollama serves a GGUF file: python -m training.ollama --model MERGED --gguf FILE

A GGUF file has the model's chat template in Jinja, which llama.cpp reads. Ollama takes templates of Go, and guesses one where
it does not know the Jinja. So the Modelfile has the template of what every prompt here is, one user's turn, as the tokenizer
renders it, and the token that ends the answer. https://docs.ollama.com/modelfile has the format.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError, plain_errors
from common.model_files import loading
from common.thinking import template_arguments

PLACE = "Place-Of-The-Prompt"


def modelfile(tokenizer: Any, gguf: str, context: int) -> str:
    """`gguf`: the file's path from the Modelfile. `context`: tokens of prompt and answer. Raises UserError."""
    before, after = turn_of(tokenizer)
    quoted = f"{go_text(before)}{{{{ .Prompt }}}}{go_text(after)}"
    if '"""' in quoted:
        raise UserError('the chat template holds """, which a Modelfile cannot; serve the GGUF file by llama.cpp')
    lines = [f"FROM {gguf}", f'TEMPLATE """{quoted}"""', "PARAMETER temperature 0", f"PARAMETER num_ctx {context}"]
    if tokenizer.eos_token:
        lines.append(f'PARAMETER stop "{tokenizer.eos_token}"')
    return "\n".join(lines) + "\n"


def turn_of(tokenizer: Any) -> tuple[str, str]:
    """What stands before and after the prompt of a user's turn that is to be answered. Raises UserError.

    Without the first token of every text (bos), which llama.cpp adds by itself.
    """
    if not tokenizer.chat_template:
        return "", ""
    text: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": PLACE}],
        add_generation_prompt=True,
        tokenize=False,
        **template_arguments(tokenizer.get_chat_template()),
    )
    if text.count(PLACE) != 1:
        raise UserError("the chat template does not take a prompt as it is; serve the GGUF file by llama.cpp, which reads it")
    before, after = text.split(PLACE)
    return before.removeprefix(tokenizer.bos_token or "") if adds_bos(tokenizer) else before, after


def adds_bos(tokenizer: Any) -> bool:
    """Whether it puts the bos token before plain texts, as llama.cpp then does before every prompt."""
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]


def go_text(text: str) -> str:
    """Text for a template of Go, in which braces begin an action."""
    return text.replace("{{", '{{ "{{" }}')


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.ollama", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--model", required=True, metavar="MERGED", help="the model that the GGUF file was converted from")
    parser.add_argument("--gguf", type=Path, required=True, metavar="FILE", help="the GGUF file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="(default: Modelfile beside the GGUF file)")
    arguments = parser.parse_args(argv)
    if not arguments.gguf.is_file():
        raise UserError(f"there is no {arguments.gguf}; convert the merged model first, see training/README.md")
    from transformers import AutoConfig, AutoTokenizer

    with loading(arguments.model, "the model", "give the folder that the GGUF file was converted from"):
        tokenizer, config = AutoTokenizer.from_pretrained(arguments.model), AutoConfig.from_pretrained(arguments.model)
    out: Path = arguments.out or arguments.gguf.with_name("Modelfile")
    gguf = arguments.gguf.resolve()
    near = gguf.parent == out.resolve().parent
    context = getattr(config, "max_position_embeddings", None) or 4096
    out.write_text(modelfile(tokenizer, f"./{gguf.name}" if near else str(gguf), min(context, 8192)), encoding="utf-8")
    print(f"{out}: ollama create shop -f {out}")


if __name__ == "__main__":
    with plain_errors():
        main()
