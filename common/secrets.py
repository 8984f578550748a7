"""Refuses to publish files that hold a token or a path of this machine."""

import mmap
import re
from collections.abc import Iterable
from pathlib import Path

from common.errors import UserError

TOKEN = re.compile(rb"\b(?:hf_[A-Za-z0-9]{20,}|sk-(?:[a-z]+-)?[A-Za-z0-9_]{32,})")
"""Tokens of the Hub and of OpenAI; long, since a product's name may begin with sk- too."""


def check_nothing_private(folder: Path, names: Iterable[str], places: Iterable[Path] = ()) -> None:
    """Raises UserError if a file of the folder holds a token, or a path below the home folder, the working directory or one
    of `places`. Compressed content, such as a Parquet file's columns, is not searched."""
    from huggingface_hub import get_token

    token = (get_token() or "").encode()
    roots = {path for place in (Path.home(), Path.cwd(), *places) for path in (place.absolute(), place.resolve())}
    paths = [str(root).encode() for root in roots if len(root.parts) > 2] + [f"{Path.home()}/".encode()]
    for name in names:
        file = folder / name
        if not file.stat().st_size:
            continue
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if TOKEN.search(content) or (token and content.find(token) >= 0):
                raise UserError(f"{name} holds what looks like a token; take it out, and revoke it if it was ever shown")
            if any(content.find(path) >= 0 for path in paths):
                raise UserError(f"{name} names a folder of this machine; take it out of the files that this one is made from")
