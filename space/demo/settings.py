"""Which backend answers: BACKEND=transformers (the default), on the CPU, a GPU or ZeroGPU, or BACKEND=endpoint."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from .backend import Backend
from .endpoint_model import Endpoint, EndpointModel

PACKAGES = {"transformers": ("torch", "transformers", "peft"), "endpoint": ("openai",)}
"""What each backend needs beside the page."""


@dataclass(frozen=True)
class Settings:
    """What settings.json holds: folders or Hub ids."""

    base_model: str
    adapter: str | None = None
    dataset: str | None = None


class BadSettings(Exception):
    """Environment variables that name no backend; the message is a sentence for whoever starts the page."""


def connect(settings: Settings, environ: Mapping[str, str] = os.environ) -> Backend:
    """The backend that the environment asks for, to be started when the page is there. On ZeroGPU it loads here and now: it
    must be called before the page is launched, by the thread that launches it. Raises BadSettings."""
    kind = environ.get("BACKEND") or "transformers"
    if kind not in PACKAGES:
        raise BadSettings(f"BACKEND is {kind!r}; it has to be transformers or endpoint")
    missing = [package for package in PACKAGES[kind] if find_spec(package) is None]
    if missing:
        raise BadSettings(
            f"BACKEND={kind} needs {', '.join(missing)}, which is not here; publish the Space with --backend {kind}, or run "
            "pip install"
        )
    if kind == "endpoint":
        return EndpointModel(read_endpoint(environ))
    if environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):  # as the package `spaces` reads it
        from .zero_gpu import ZeroGpuModel

        return ZeroGpuModel(settings.base_model, settings.adapter)
    from .local_model import LocalModel

    return LocalModel(settings.base_model, settings.adapter)


def read_endpoint(environ: Mapping[str, str]) -> Endpoint:
    """ENDPOINT_URL, ENDPOINT_BASE_MODEL, ENDPOINT_TUNED_MODEL and ENDPOINT_API_KEY; the last two may be missing."""
    url, base = (environ.get(f"ENDPOINT_{name}", "").strip() for name in ("URL", "BASE_MODEL"))
    if not url.startswith(("http://", "https://")):
        raise BadSettings(
            "BACKEND=endpoint needs ENDPOINT_URL, an address that begins with http:// or https:// and mostly ends in /v1"
        )
    if not base:
        raise BadSettings("BACKEND=endpoint needs ENDPOINT_BASE_MODEL, the name that the base model has at ENDPOINT_URL")
    tuned = environ.get("ENDPOINT_TUNED_MODEL", "").strip()
    return Endpoint(url, {"base": base} | ({"tuned": tuned} if tuned else {}), environ.get("ENDPOINT_API_KEY", "").strip())
