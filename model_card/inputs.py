"""Everything that one card is made from: the adapter and its training run, the base model, the dataset and the scores."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.dataset import NONE_STATED, Manifest, as_hub_id, licence_text, read_manifest
from common.errors import UserError
from common.files import read_object, sha256_of
from common.model_files import has_tokenizer
from common.tasks import TASKS, Task
from model_card.evaluations import ModelResults, SuiteComparison, read_comparisons
from model_card.served import ServedComparison, read_served
from training.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, SUMMARY

SHOP = "shop"
"""The suite of the dataset's own test rows."""

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainedAdapter:
    """`config` is adapter_config.json, `summary` is training_summary.json ({} if missing), `name` the folder's name.

    `weights_sha256` is that of adapter_model.safetensors, None if missing. `template` is the chat template of the tokenizer
    that the adapter brings along, None where it brings none.
    """

    config: dict[str, Any]
    summary: dict[str, Any]
    name: str = ""
    weights_sha256: str | None = None
    template: str | None = None

    @property
    def lora(self) -> dict[str, Any]:
        """LoRA settings; the adapter's own configuration wins over the training summary."""
        return {**self.section("lora"), **self.config}

    @property
    def curves(self) -> str | None:
        """The Space with the training curves, where the run made one."""
        name = self.summary.get("trackio_space_id")
        return name if isinstance(name, str) and as_hub_id(name) and "/" in name else None

    def section(self, name: str) -> dict[str, Any]:
        """A nested object of the summary; {} if missing."""
        value = self.summary.get(name)
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class BaseModel:
    """The base model. `local_name` is set for a local copy; `dtype` is that of its stored weights, such as bfloat16.

    None stands for what is not known.
    """

    hub_id: str | None
    local_name: str | None = None
    licence: str | None = None
    dtype: str | None = None

    @property
    def title(self) -> str:
        """A name for a sentence."""
        return self.hub_id or self.local_name or "an unnamed model in a local folder"


@dataclass(frozen=True)
class CardInputs:
    """Everything that a card is made from; None for what was not given.

    `shop`: scores on the dataset's own test rows; `others`: on other benchmarks; `served`: of the model as it is served;
    `places`: files and folders of this machine that were read, which the card must not name.
    """

    adapter: TrainedAdapter
    base: BaseModel
    data: Manifest | None
    shop: SuiteComparison
    others: tuple[SuiteComparison, ...] = ()
    repo_id: str | None = None
    places: tuple[Path, ...] = ()
    served: tuple[ServedComparison, ...] = ()

    @property
    def tuned(self) -> ModelResults:
        """The tuned model on the dataset's own test rows."""
        return self.shop.tuned

    @property
    def measured(self) -> list[Task]:
        """The dataset's tasks that were scored, in the order of the table."""
        return [TASKS[line.name.partition(":")[2]] for line in self.shop.report.lines]

    @property
    def title(self) -> str:
        """The model's name."""
        return self.repo_id.split("/")[-1] if self.repo_id else "shop-lora"

    @property
    def dataset_id(self) -> str | None:
        """The dataset's id on the Hub, None for a local one."""
        return self.data.hub_id if self.data else as_hub_id(self.adapter.summary.get("dataset_name"))

    @property
    def config(self) -> str:
        """The dataset's config that was trained on."""
        return str(self.adapter.summary.get("dataset_config") or "default")

    @property
    def untrained(self) -> list[Task]:
        """Measured tasks without a row in the training run, where it recorded its rows by task."""
        trained = self.adapter.section("tasks")
        return [task for task in self.measured if trained and task.name not in trained]

    @property
    def unmeasured(self) -> list[Task]:
        """Tasks with rows in the training run (all, where it recorded none) that have no score."""
        trained = self.adapter.section("tasks") or TASKS
        measured = {task.name for task in self.measured}
        return [task for name, task in TASKS.items() if name in trained and name not in measured]


def read_inputs(
    adapter: Path,
    results: Sequence[Path],
    base_results: Sequence[Path] = (),
    baseline_results: Sequence[Path] = (),
    *,
    served_results: Mapping[str, Sequence[Path]] | None = None,
    base_model: str | None = None,
    data: str | None = None,
    revision: str | None = None,
    repo_id: str | None = None,
) -> CardInputs:
    """Reads the adapter's folder, the results and the dataset (a folder or Hub id). Raises UserError.

    base_model: Hub id of the adapter's base, by default as the adapter says; repo_id: the model's own; served_results: what is
    served -> its results.
    """
    found = read_adapter(adapter)
    suites = read_comparisons(results, base_results, baseline_results)
    if not suites or suites[0].suite != SHOP:
        raise UserError(f"{results[0]} holds no score of a {SHOP} task; evaluate with eval_tasks.run --data first")
    dataset = read_manifest(data, revision) if data else None
    names = [Path(str(name)) for name in (data, found.config.get("base_model_name_or_path")) if name]
    served = served_results or {}
    of_served = [path for paths in served.values() for path in paths]
    read = (adapter, *results, *base_results, *baseline_results, *of_served, *names)
    return CardInputs(
        found,
        read_base(found, base_model),
        dataset,
        suites[0],
        tuple(suites[1:]),
        repo_id,
        tuple(path for path in read if path.exists()),
        read_served(served, suites[0]),
    )


def read_adapter(folder: Path) -> TrainedAdapter:
    """Raises UserError if `folder` holds no adapter. A missing summary is no error: the card then says so."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the output folder of training/sft.py")
    if not (folder / ADAPTER_CONFIG).is_file():
        raise UserError(f"{folder} holds no {ADAPTER_CONFIG}, so it is no adapter; give the output folder of training/sft.py")
    summary, weights = folder / SUMMARY, folder / ADAPTER_WEIGHTS
    return TrainedAdapter(
        read_object(folder / ADAPTER_CONFIG),
        read_object(summary) if summary.is_file() else {},
        folder.resolve().name,
        sha256_of(weights) if weights.is_file() else None,
        read_template(folder),
    )


def read_template(folder: Path) -> str | None:
    """The chat template of the tokenizer in a folder, "" where it has none, None without a tokenizer."""
    config, template = folder / "tokenizer_config.json", folder / "chat_template.jinja"
    if not has_tokenizer(folder):
        return None
    if template.is_file():
        return template.read_text(encoding="utf-8")
    return str(read_object(config).get("chat_template") or "") if config.is_file() else ""


def read_base(adapter: TrainedAdapter, known: str | None = None) -> BaseModel:
    """The adapter's base model; for a local folder, as its README.md describes it (`base_model`, licence, heading).

    `known`: the base's id on the Hub, which overrides what the folder says.
    """
    if known:
        local = read_base(adapter)
        dtype = local.dtype or _dtype(_hub_file(known, "config.json"))
        return BaseModel(known, licence=local.licence or _hub_licence(known), dtype=dtype)
    name = adapter.config.get("base_model_name_or_path") or adapter.summary.get("base_model")
    if not isinstance(name, str):
        return BaseModel(None)
    hub_id = as_hub_id(name)
    if hub_id:
        return BaseModel(hub_id, licence=_hub_licence(hub_id), dtype=_dtype(_hub_file(hub_id, "config.json")))
    readme, dtype = Path(name) / "README.md", _dtype(Path(name) / "config.json")
    if not readme.is_file():
        return BaseModel(None, dtype=dtype)
    from huggingface_hub import ModelCard

    text = readme.read_text(encoding="utf-8", errors="replace")
    try:
        data = ModelCard(text, ignore_metadata_errors=True).data
    except Exception:  # a stranger's README: after any YAML or card error nothing is known from it
        return BaseModel(None, dtype=dtype)
    heading = re.search(r"^# +(.+)$", text.split("\n---", 1)[-1], re.MULTILINE)
    original = data.get("base_model")
    if isinstance(original, list):
        original = next(iter(original), None)
    local_name = heading[1].strip() if heading else "a local copy"
    return BaseModel(as_hub_id(original), local_name, licence_text(data.get("license")), dtype)


def _hub_licence(hub_id: str) -> str | None:
    """The base model's licence; None without a network, and the card then says that it is not known."""
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        card = HfApi().model_info(hub_id, timeout=10).card_data
    except (HfHubHTTPError, OfflineModeIsEnabled, HTTPError, OSError):
        return None
    return licence_text(card.license) if card else NONE_STATED


def _hub_file(hub_id: str, name: str) -> Path | None:
    """A file of a model on the Hub or in the cache; None if it cannot be downloaded."""
    from httpx import HTTPError
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(hub_id, name, etag_timeout=10))
    except (HfHubHTTPError, HTTPError, OSError, ValueError):
        return None


def _dtype(config: Path | None) -> str | None:
    """The dtype in a model's config.json; transformers before version 5 called it `torch_dtype`."""
    try:
        document = read_object(config) if config else {}
    except UserError:  # a missing base model is no reason to fail
        return None
    text = document.get("text_config")
    for part in (document, text if isinstance(text, dict) else {}):
        found = part.get("dtype") or part.get("torch_dtype")
        if found in DTYPES:
            return str(found)
    return None
