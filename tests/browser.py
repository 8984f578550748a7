"""Fixtures for tests that drive a page in the machine's own Chromium."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium of the machine; playwright's own download is not asked for.

    No longer than a module: playwright's event loop runs in the main thread, where other tests may want theirs.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=path, args=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures for a person's eye go: ARTIFACTS_DIR, or outputs/screenshots."""
    folder = Path(os.environ.get("ARTIFACTS_DIR") or Path(__file__).parents[1] / "outputs" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
