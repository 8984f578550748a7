"""Which backend answers: BACKEND=transformers (the default; on a ZeroGPU Space with its GPU) or BACKEND=endpoint."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from asking import Backend


@dataclass(frozen=True)
class Settings:
    """What settings.json holds: folders or Hub ids."""

    base_model: str
    adapter: str | None = None
    dataset: str | None = None


class BadSettings(Exception):
    """Environment variables that name no backend; the message is a sentence for whoever starts the page."""


def connect(settings: Settings, environ: Mapping[str, str] = os.environ) -> Backend:
    """The backend that the environment asks for; it loads in the background. Raises BadSettings."""
    kind = environ.get("BACKEND") or "transformers"
    if kind == "endpoint":
        import endpoint_model

        return endpoint_model.connect(environ)
    if kind == "transformers":
        import local_model

        return local_model.connect(settings.base_model, settings.adapter)
    raise BadSettings(f"BACKEND is {kind!r}; it has to be transformers or endpoint")
