"""What a folder of a model holds."""

from pathlib import Path

from common.errors import UserError


def check_folder(folder: Path, name: str) -> None:
    """Raises UserError for a folder without a model that transformers loads from safetensors."""
    files = {path.name for path in folder.iterdir() if path.is_file()}
    if "adapter_config.json" in files and "config.json" not in files:
        raise UserError(f"{name} is an adapter; give it as --adapter, and its base as --model")
    if not any(file.endswith((".safetensors", ".safetensors.index.json")) for file in files):
        if any(file.endswith(".gguf") for file in files):
            raise UserError(f"{name} holds GGUF files; give the folder or Hub id of the safetensors that they were made from")
        raise UserError(f"{name} holds no *.safetensors; give a model folder or Hub id with its weights in that form")
