"""Cache keys of lighteval that change with everything that an answer depends on.

lighteval re-uses generations whose model arguments and task config read the same as before, and knows a row by its number.
That shows neither that a dataset was rebuilt, nor that an adapter was merged into the same folder again, nor that a branch on
the Hub moved on. So the rows go into the task config as its `version`, and all else as the name of its prompt function.
"""

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any

READ_WHOLE = 16 * 2**20
"""Bytes. Of a larger file so many are read, in blocks spread over it, and its time is taken along."""

BLOCKS = 64

Stamp = str
"""Sixteen hex digits; empty where there is nothing to tell."""


def data_version(fingerprint: str) -> int:
    """A task version that changes with the rows."""
    return int(_digest(fingerprint)[:8], 16)


def named_after(function: Callable[..., Any], *stamps: Stamp) -> Callable[..., Any]:
    """The prompt function under a name that changes with these stamps, of the model and of the files that the rows come from,
    with what the function says, and with the libraries that generate."""

    @wraps(function)
    def named(*arguments: Any) -> Any:
        return function(*arguments)

    libraries = [version(name) for name in ("torch", "transformers")]
    named.__name__ = f"{function.__name__}_{_digest(repr((stamps, inspect.getsource(function), libraries)))[:8]}"
    return named


def weights_stamp(argv: Sequence[str]) -> Stamp:
    """The model and tokenizer that a command line of lighteval names: the content of folders, the commits of Hub ids."""
    if argv[:1] == ["custom"]:  # models of one's own keep their answers themselves
        return ""
    for argument in argv:
        options = model_options(argument)
        if name := options.get("model_name"):
            revision = options.get("revision") or None
            stamps = [_stamp(name, "config.json", revision)]
            if tokenizer := options.get("tokenizer"):
                stamps.append(_stamp(tokenizer, "tokenizer_config.json", revision))
            return stamps[0] if len(stamps) == 1 else _digest(repr(stamps))
    return ""


def model_options(argument: str) -> Mapping[str, str]:
    """Options of "model_name=...,key=value", or of a YAML file with them below `model_parameters`; {} of anything else."""
    if not argument.endswith((".yaml", ".yml")) or not Path(argument).is_file():
        pairs = (part.partition("=") for part in argument.split(","))
        return {name.strip(): value.strip() for name, _, value in pairs if value}
    import yaml

    try:
        options = yaml.safe_load(Path(argument).read_text(encoding="utf-8"))["model_parameters"]
    except (yaml.YAMLError, ValueError, KeyError, TypeError):
        return {}  # lighteval says what is wrong with it
    return {name: str(value) for name, value in options.items()} if isinstance(options, dict) else {}


def _stamp(name: str, file: str, revision: str | None) -> Stamp:
    return folder_stamp(Path(name)) if Path(name).is_dir() else hub_commit(name, file, revision)


def folder_stamp(folder: Path) -> Stamp:
    """Changes with the content of the files in a folder, not below it; empty where there is no file.

    Cards and pictures do not count: they are written when a model has answered, and change none of its answers.
    Sizes and times are not enough: two merges give files of one size, and tools restore times. A merge changes all weights.
    """
    if not folder.is_dir():
        return ""
    contents = [
        (file.name, _content(file))
        for file in sorted(folder.iterdir())
        if file.is_file() and file.suffix not in (".md", ".png")
    ]
    return _digest(repr(contents))[:16] if contents else ""


def _content(file: Path) -> tuple[Any, ...]:
    stat = file.stat()
    if stat.st_size <= READ_WHOLE:
        return (hashlib.sha256(file.read_bytes()).hexdigest(),)
    digest = hashlib.sha256()
    length = READ_WHOLE // BLOCKS
    with file.open("rb") as stream:
        for number in range(BLOCKS):  # the first block begins the file, the last one ends it
            stream.seek((stat.st_size - length) * number // (BLOCKS - 1))
            digest.update(stream.read(length))
    return stat.st_size, stat.st_mtime_ns, digest.hexdigest()


def hub_commit(repo_id: str, file: str, revision: str | None = None, repo_type: str = "model") -> Stamp:
    """The commit that a revision of a Hub repository is now, as the libraries that load it see it: without a network the cached
    one. Empty where it cannot be had; then it cannot be loaded either. `file` is one that the repository has.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        path = Path(hf_hub_download(repo_id, file, revision=revision, repo_type=repo_type))
    except (HfHubHTTPError, HFValidationError, OSError, ValueError):
        return ""
    # .../models--org--name/snapshots/COMMIT/config.json
    return path.parent.name[:16] if re.fullmatch(r"[0-9a-f]{40}", path.parent.name) else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
