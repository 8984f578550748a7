"""A real model behind a real server, for the slow tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vllm_server import vllm_server

CONTEXT = ("--max-model-len", "1024")


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training.embedded_model import build

    folder = tmp_path_factory.mktemp("smollm2") / "model"
    build(folder)
    return folder


@pytest.fixture(scope="session")
def served(smollm2: Path) -> Iterator[str]:
    with vllm_server(smollm2, "smollm2", smollm2.parent, *CONTEXT) as url:
        yield url
