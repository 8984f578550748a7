"""What makes lighteval generate anew when the rows or the weights have changed.

lighteval re-uses generations whose model arguments and task config read the same as before; neither shows that a dataset was
rebuilt or that an adapter was merged into the same folder again. So both go into the task config: the rows as its `version`,
the weights as the name of its prompt function.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any


def data_version(fingerprint: str) -> int:
    """A task version that changes with the rows."""
    return int(_digest(fingerprint)[:8], 16)


def named_after_weights(function: Callable[..., Any], argv: Sequence[str]) -> Callable[..., Any]:
    """The function under a name that tells the weights in the folder that lighteval's command line gives as model.

    A model on the Hub needs no such name: its revision is one of the model arguments.
    """

    @wraps(function)
    def named(*arguments: Any) -> Any:
        return function(*arguments)

    if stamp := weights_stamp(argv):
        named.__name__ = f"{function.__name__}_for_weights_{stamp}"
    return named


def weights_stamp(argv: Sequence[str]) -> str:
    """Name, size and time of the files in the model folder, as eight hex digits; empty where no folder is named."""
    for argument in argv:
        # Model arguments are "model_name=...,key=value" or a YAML file with a line "model_name: ...".
        is_file = argument.endswith((".yaml", ".yml")) and Path(argument).is_file()
        text = Path(argument).read_text(encoding="utf-8") if is_file else argument
        for name in re.findall(r"""\bmodel_name\s*[=:]\s*["']?([^,"'\n]+)""", text):
            folder = Path(name.strip())
            if folder.is_dir():
                stats = ((file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file())
                return _digest(repr([(file, stat.st_size, stat.st_mtime_ns) for file, stat in stats]))[:8]
    return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
