"""The Space on ZeroGPU, as far as it goes without a GPU: the package `spaces` is the real one, and the device API is on the
loopback interface."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from gradio_client import Client

from space.demo import model_pair
from space.demo.backend import AnswerRequest, BackendError, ModelAnswer
from space.demo.list_ranking import ranked, scores_so_far
from space.demo.local_backend import LocalBackend
from space.demo.zero_gpu_backend import ZeroGpuBackend
from tests.space.conftest import process_of, serve

pytest.importorskip("spaces")

HARDWARE = Path(__file__).parents[1] / "zero_gpu_hardware"
TASK, PROMPT = "review_rating", "Review: The bottle leaks.\nAnswer: "
ASK = AnswerRequest(PROMPT, 8, ("1", "2", "3", "4", "5"))


@dataclass
class Devices:
    """The device API; `calls` are the paths that were asked for with their queries."""

    url: str = ""
    quota_left: bool = True
    calls: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def devices() -> Iterator[Devices]:
    api = Devices()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            api.calls.append(self.path)
            refused = self.path.startswith("/schedule") and not api.quota_left
            granted = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "token"}
            body = json.dumps({"left": 0, "wait": 60} if refused else granted).encode()
            self.send_response(429 if refused else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield api
    server.shutdown()


@pytest.fixture(scope="module")
def client(
    tree: Path, tiny_llama: Path, tiny_adapter: Path, devices: Devices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    settings = {
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": devices.url,
        "PYTHONPATH": str(HARDWARE),
        "BASE_MODEL": str(tiny_llama),
        "ADAPTER": str(tiny_adapter),
    }
    with serve(tree, tmp_path_factory.mktemp("zero_gpu") / "log", **settings) as running:
        yield Client(running.url, verbose=False)
        gpu_processes = process_of(running).children()
    for process in gpu_processes:  # they outlive the page, which on the Hub ends with its machine
        process.kill()


@pytest.fixture
def _in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the GPU would compute."""
    monkeypatch.setattr(model_pair, "fastest_dtype", lambda: torch.bfloat16)


def last(model: LocalBackend | ZeroGpuBackend, request: AnswerRequest = ASK) -> dict[str, ModelAnswer]:
    model.wait(60)
    *_, said = model.stream(request, 30)
    return said


@pytest.mark.usefixtures("_in_bfloat16")
def test_the_page_answers_from_a_gpu_process_what_the_models_say_here(
    client: Client, devices: Devices, tiny_llama: Path, tiny_adapter: Path
) -> None:
    here = last(LocalBackend(str(tiny_llama), str(tiny_adapter)))
    for _ in range(2):
        told = client.predict(task=TASK, prompt=PROMPT, api_name="/answer")
        for who, said in here.items():
            assert told[who]["text"] == said.text
            assert list(told[who]["chances"].values()) == pytest.approx(said.probabilities)
    kinds = [call.partition("?")[0] for call in devices.calls]
    assert kinds == ["/startup-report", "/schedule", "/allow", "/release", "/schedule", "/release"]
    assert "durationSeconds=20" in devices.calls[1]
    assert devices.calls[-1].endswith("fail=false")


@pytest.mark.usefixtures("_in_bfloat16")
def test_a_list_is_ranked_on_one_gpu(client: Client, devices: Devices, tiny_llama: Path, tiny_adapter: Path) -> None:
    before, products = len(devices.calls), ["hose", "lamp", "bottle"]
    told = client.predict(query="water", products=products, api_name="/rank")
    kinds = [call.partition("?")[0] for call in devices.calls[before:]]
    assert kinds.count("/schedule") == 1
    assert any("durationSeconds=60" in call for call in devices.calls[before:])
    here = LocalBackend(str(tiny_llama), str(tiny_adapter))
    here.wait(60)
    *_, found = scores_so_far(here, "water", products, 60)
    for who, scores in found.items():
        assert [one["score"] for one in told[who]] == pytest.approx([one.score for one in ranked(products, scores)])


def test_a_visitor_without_quota_is_told_what_zero_gpu_says(client: Client, devices: Devices) -> None:
    devices.quota_left = False
    try:
        with pytest.raises(Exception, match="Space app has reached its GPU limit"):
            client.predict(task=TASK, prompt=PROMPT, api_name="/answer")
    finally:
        devices.quota_left = True
    assert client.predict(task=TASK, prompt=PROMPT, api_name="/answer")["tuned"]["text"]


def test_a_prompt_that_is_too_long_needs_no_gpu(client: Client, devices: Devices) -> None:
    before = len(devices.calls)
    with pytest.raises(Exception, match="The prompt is too long"):
        client.predict(task=TASK, prompt="\U0001f6d2" * 2000, api_name="/answer")
    assert len(devices.calls) == before


def test_elsewhere_the_decorator_does_nothing(tiny_llama: Path, tiny_adapter: Path) -> None:
    model = ZeroGpuBackend(str(tiny_llama), str(tiny_adapter))
    assert model.state().kind == "ready"
    here = last(LocalBackend(str(tiny_llama), str(tiny_adapter)))
    assert {who: said.text for who, said in last(model).items()} == {who: said.text for who, said in here.items()}


def test_a_model_that_cannot_be_loaded_is_told_by_the_page(tmp_path: Path) -> None:
    model = ZeroGpuBackend(str(tmp_path / "gone"))
    assert model.state().kind == "failed"
    assert "gone could not be loaded" in model.state().message
    with pytest.raises(BackendError, match="could not be loaded"):
        model.wait(1)
    with pytest.raises(BackendError, match="could not be loaded"):
        next(model.stream(ASK, 1))
