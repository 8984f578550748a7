"""The page's start: it is there before the model, and says how far that is."""

import socket
import time
from pathlib import Path

import httpx

from tests.space.conftest import Served, serve


def status(page: Served) -> str:
    """The line at the top, fetched as the browser does every second."""
    dependencies = httpx.get(f"{page.url}config", timeout=60).json()["dependencies"]
    tick = next(one for one in dependencies if any(event == "tick" for _, event in one["targets"]))
    asked = {"fn_index": tick["id"], "data": [], "session_hash": "visitor"}
    return str(httpx.post(f"{page.url}gradio_api/run/predict", json=asked, timeout=60).json()["data"][0])


def test_the_page_is_there_while_the_model_loads_and_tells_what_it_waits_for(tree: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:  # it takes calls and never answers
        silent = f"http://127.0.0.1:{hub.getsockname()[1]}"
        settings = {"BASE_MODEL": "org/base", "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": silent, "HF_HUB_ETAG_TIMEOUT": "600"}
        with serve(tree, tmp_path / "log", **settings) as page:
            assert httpx.get(page.url, timeout=60).status_code == 200
            deadline = time.monotonic() + 120
            while "Loading the weights of org/base." not in (told := status(page)) and time.monotonic() < deadline:
                time.sleep(0.2)
            assert "Loading the weights of org/base." in told
            assert "loading" in told
