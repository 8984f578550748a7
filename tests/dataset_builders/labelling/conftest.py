"""A real model behind a real server, for tests that need vLLM."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vllm_server import vllm_server

CONTEXT = ("--max-model-len", "1024")


@pytest.fixture(scope="session")
def served(vllm: None, smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with vllm_server(smollm2, "smollm2", tmp_path_factory.mktemp("vllm"), *CONTEXT) as url:
        yield url
