"""What a model's folder must hold, and one sentence where loading fails."""

import json
from pathlib import Path

import pytest
import torch

from common.errors import UserError
from common.model_files import check_model_folder, loading

SHARDS = ("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors")
MAP = json.dumps({"weight_map": {f"layer{number}": name for number, name in enumerate(SHARDS)}})
INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], "MODEL is an adapter; give its base as the model"),
        (["config.json", "model-Q4_1.gguf"], "MODEL holds GGUF files; give the folder or Hub id of the safetensors"),
        (["config.json", "pytorch_model.bin"], r"MODEL holds no \*\.safetensors; give a model folder or Hub id with"),
        ([INDEX, SHARDS[0], SHARDS[2]], f"MODEL lacks 1 of the 3 files that its {INDEX} names, such as {SHARDS[1]}; fetch"),
        ([INDEX], "MODEL lacks 3 of the 3 files"),
    ],
)
def test_a_folder_without_a_whole_model_is_refused(files: list[str], sentence: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_text(MAP)
    with pytest.raises(UserError, match=f"^{sentence}"):
        check_model_folder(tmp_path, "MODEL")


@pytest.mark.parametrize("files", [["model.safetensors"], [INDEX, *SHARDS], [INDEX, "model.safetensors"]])
def test_a_whole_model_is_taken(files: list[str], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_text(MAP)
    check_model_folder(tmp_path, "MODEL")


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": []}'])
def test_an_index_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(UserError, match="is not an index of weights; fetch the model again"):
        check_model_folder(tmp_path, "MODEL")


def test_a_library_s_error_becomes_one_sentence_and_full_memory_stays_what_it_is() -> None:
    what = ("org/name", "the model", "check --model")
    sentence = r"^cannot load the model org/name: no such layer; check --model$"
    with pytest.raises(UserError, match=sentence), loading(*what):
        raise RuntimeError("no such layer.\nand a page of names")
    with pytest.raises(UserError, match="the model org/name: there is no such folder; check"), loading(*what):
        raise OSError("Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/none'. Use `repo_type` if needed.")
    with pytest.raises(torch.OutOfMemoryError), loading(*what):
        raise torch.OutOfMemoryError("CUDA out of memory")
