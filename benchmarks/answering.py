"""Cached answers of models and baselines, until what they depend on changes."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eval_tasks.backends.prompts import Prompt


def prompt(text: str, max_new_tokens: int, task: str = "") -> Prompt:
    """One turn of the user's. `task` is a lighteval task's name: its answers end where they are read no further."""
    return Prompt((("user", text),), text, max_new_tokens, task)


def model_answers(model: str, prompts: Sequence[Prompt], folder: Path) -> list[str]:
    """Answers of a model's folder or Hub id, in the order of the prompts. Raises UserError."""
    from eval_tasks.backends.answer_store import AnswerStore
    from eval_tasks.backends.lighteval_model import answer_prompts
    from eval_tasks.backends.prompts import parse_options
    from eval_tasks.transformers_model import TransformersBackend, load

    loaded = load(parse_options(f"model_name={model}", TransformersBackend.OPTIONS))
    return answer_prompts(loaded, prompts, None, False, AnswerStore(folder / "answers.sqlite"), shown(model))


def shown(model: str) -> str:
    """A Hub id as it is, a folder by its last name."""
    return Path(model).resolve().name if Path(model).exists() or Path(model).is_absolute() else model


def kept(folder: Path, key: Any, make: Callable[[], list[str]]) -> list[str]:
    """What `make` gives, or what it gave in an earlier run for the same key: JSON in the folder, under the key's hash."""
    path = folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}.json"
    try:
        found: list[str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = make()
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(found) + "\n", encoding="utf-8")
        unfinished.replace(path)
    return found
