"""Settings: settings.json and the environment variables that override it, and the backend that they select."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from common.thinking import argument_value

from . import ROOT
from .backend import ModelBackend
from .list_scoring import FORMS
from .remote_backend import EndpointSettings, RemoteBackend

PACKAGES = {"transformers": ("torch", "transformers", "peft"), "endpoint": ("openai",)}
"""Value of BACKEND -> packages that it needs and the page does not."""


@dataclass(frozen=True)
class SpaceSettings:
    """The entries of settings.json: folders or Hub ids, and how lists are scored, one of list_scoring.FORMS."""

    base_model: str
    adapter: str | None = None
    dataset: str | None = None
    lists: str = "words"


class SettingsError(Exception):
    """Invalid environment variables; the message is a sentence for whoever starts the page."""


def read_settings() -> SpaceSettings:
    """settings.json, each entry overridden by the environment variable of its name in capitals. Raises SettingsError."""
    stored = json.loads((ROOT / "settings.json").read_text(encoding="utf-8"))
    names = ("base_model", "adapter", "dataset", "lists")
    settings = SpaceSettings(**{name: os.environ.get(name.upper()) or stored[name] for name in names})
    if settings.lists not in FORMS:
        raise SettingsError(f"LISTS is {settings.lists!r}; it has to be {' or '.join(FORMS)}")
    return settings


def make_backend(settings: SpaceSettings, environ: Mapping[str, str] = os.environ) -> ModelBackend:
    """The backend that BACKEND and SPACES_ZERO_GPU select, to be started once the page is served. Raises SettingsError.

    On ZeroGPU it loads at once: it must be called before the page is launched, by the launching thread.
    """
    kind = environ.get("BACKEND") or "transformers"
    if kind not in PACKAGES:
        raise SettingsError(f"BACKEND is {kind!r}; it has to be transformers or endpoint")
    missing = [package for package in PACKAGES[kind] if find_spec(package) is None]
    if missing:
        raise SettingsError(
            f"BACKEND={kind} needs {', '.join(missing)}, which is not here; publish the Space with --backend {kind}, or run "
            "pip install"
        )
    if kind == "endpoint":
        return RemoteBackend(read_endpoint_settings(environ))
    if environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):  # as the package `spaces` reads it
        from .zero_gpu_backend import ZeroGpuBackend

        return ZeroGpuBackend(settings.base_model, settings.adapter)
    from .local_backend import LocalBackend

    return LocalBackend(settings.base_model, settings.adapter)


def mcp_server(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the page is an MCP server, too: as MCP_SERVER says, else on the Hub (SPACE_ID), where the package is there.

    Raises SettingsError.
    """
    asked, installed = environ.get("MCP_SERVER", "").strip().lower(), find_spec("mcp") is not None
    if asked not in ("", "true", "false"):
        raise SettingsError(f"MCP_SERVER is {asked!r}; it has to be true or false")
    if asked == "true" and not installed:
        raise SettingsError('MCP_SERVER=true needs the package mcp, which is not here; run pip install "gradio[mcp]"')
    return asked == "true" or (not asked and installed and "SPACE_ID" in environ)


def read_endpoint_settings(environ: Mapping[str, str]) -> EndpointSettings:
    """ENDPOINT_URL, ENDPOINT_BASE_MODEL, and the optional ones: the tuned model, a key, and arguments of the chat template.

    Raises SettingsError.
    """
    url, base = (environ.get(f"ENDPOINT_{name}", "").strip() for name in ("URL", "BASE_MODEL"))
    if not url.startswith(("http://", "https://")):
        raise SettingsError(
            "BACKEND=endpoint needs ENDPOINT_URL, an address that begins with http:// or https:// and mostly ends in /v1"
        )
    if not base:
        raise SettingsError("BACKEND=endpoint needs ENDPOINT_BASE_MODEL, the name that the base model has at ENDPOINT_URL")
    tuned = environ.get("ENDPOINT_TUNED_MODEL", "").strip()
    api_key = environ.get("ENDPOINT_API_KEY", "").strip()
    template = template_options(environ.get("ENDPOINT_TEMPLATE_OPTIONS", ""))
    return EndpointSettings(url, {"base": base} | ({"tuned": tuned} if tuned else {}), api_key, template)


def template_options(text: str) -> dict[str, Any]:
    """Arguments of a chat template as KEY=VALUE, separated by white space. Raises SettingsError."""
    pairs = [part.partition("=") for part in text.split()]
    if wrong := [key for key, equals, value in pairs if not (key and equals and value)]:
        raise SettingsError(
            f"ENDPOINT_TEMPLATE_OPTIONS has {wrong[0]!r}; it has to be KEY=VALUE, such as enable_thinking=false, separated by "
            "spaces"
        )
    return {key: argument_value(value) for key, _, value in pairs}
