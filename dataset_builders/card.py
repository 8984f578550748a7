"""The dataset card: YAML that the Hub and `load_dataset` read, and what a person wants to know."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.dataset import SPLITS, config_tasks, data_pattern
from common.languages import languages
from common.tasks import TASKS
from dataset_builders.benchmark import in_benchmark
from dataset_builders.citations import BIBTEX, REFERENCES
from dataset_builders.rows import LABEL_COLUMNS, TEXT_COLUMNS, UNSEEN, WORDING

_HUB_LICENCES = {"Apache-2.0": "apache-2.0", "CC-BY-4.0": "cc-by-4.0", "CC-BY-NC-4.0": "cc-by-nc-4.0"}
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")
_CATEGORIES = {"multiple_choice": "text-classification", "ranking": "text-ranking", "retrieval": "text-retrieval"}
_TASK_IDS = {
    "review_rating": ("sentiment-scoring",),
    "query_relation": ("semantic-similarity-classification",),
    "query_product_relation": ("semantic-similarity-classification",),
    "product_relation": ("multi-input-text-classification",),
    "answerability": ("multi-input-text-classification",),
    "also_buy": ("document-retrieval",),
    "next_query": ("document-retrieval",),
    "answer_generation": ("closed-domain-qa",),
}
"""Task -> subtasks of https://github.com/huggingface/huggingface.js/blob/main/packages/tasks/src/pipelines.ts."""

_ON_THE_HUB = {
    "amazon_reviews_2023": "McAuley-Lab/Amazon-Reviews-2023",
    "merrec": "mercari-us/merrec",
    "ecinstruct": "NingLab/ECInstruct",
}
"""Source -> its authors' own dataset on the Hub."""

PICTURE_WIDTH = 520
"""Pixels that the card gives a picture where there is room for more; on a phone it is as wide as the page."""

METRICS = {"ndcg": "NDCG", "hit_rate": "hit rate", "rougel": "ROUGE-L"}
"""Metrics that a reader knows by another name."""

OPTIONAL = (
    "decontamination",
    "near_duplicates",
    "masked",
    "short",
    "queries_made_by",
    "session_queries",
    "annotations",
    "tables",
    "in_words",
)
"""Keys of a manifest that an older or a simpler one lacks."""


@dataclass(frozen=True)
class SplitSize:
    """A split of a task: its rows, its bytes as Arrow holds it in memory, and those of its files."""

    rows: int
    memory: int
    files: int


@dataclass(frozen=True)
class TaskFacts:
    """What the card tells of a task beyond the manifest: sizes of its splits, rows by licence, and one row.

    `worded`: its rows have the columns WORDING and UNSEEN.
    """

    splits: Mapping[str, SplitSize]
    licences: Mapping[str, int]
    prompt: str
    completion: str
    worded: bool = False


def card_text(manifest: dict[str, Any], facts: Mapping[str, TaskFacts], images: Mapping[str, str], title: str) -> str:
    """The card's text.

    manifest: of a build. The keys of OPTIONAL may be absent.
    facts: by task, one for each that the manifest counts.
    images: what a picture shows -> its path in the dataset folder.
    """
    import jinja2
    import yaml

    built = [name for name in TASKS if name in manifest["configs"]]
    configs = config_tasks(built)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters |= {"fence": fence, "cell": cell, "count": "{:,}".format}
    template, checks = (
        environment.from_string(Path(__file__).with_name(name).read_text(encoding="utf-8"))
        for name in ("card.md", "annotations.md")
    )
    body = template.render(
        {name: manifest.get(name) for name in OPTIONAL},
        title=title,
        synthetic=manifest["synthetic"],
        tasks=[TASKS[name] for name in built],
        benchmark=[name for name in built if in_benchmark(TASKS[name]) and manifest["configs"][name]["test"]],
        counts=manifest["configs"],
        facts=facts,
        licences={config: _licences([facts[name] for name in names]) for config, names in configs.items()},
        images=images,
        checks=checks.render(annotations=manifest["annotations"], picture_width=PICTURE_WIDTH)
        if manifest.get("annotations")
        else "",
        seed=manifest["seed"],
        worded=any(found.worded for found in facts.values()),
        metrics=METRICS,
        picture_width=PICTURE_WIDTH,
        sources=dict(sorted(manifest["sources"].items())),
        references=REFERENCES,
        bibtex=[BIBTEX[name] for name in sorted(manifest["sources"]) if name in BIBTEX],
        not_built=manifest["not_built"],
        rejects=[
            (source, reason, count)
            for source, reasons in sorted(manifest["rejects"].items())
            for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        ],
    )
    metadata = _metadata(manifest, configs, facts, title)
    return f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---\n\n{body}"


def _metadata(
    manifest: dict[str, Any], configs: Mapping[str, list[str]], facts: Mapping[str, TaskFacts], title: str
) -> dict[str, Any]:
    """The card's YAML (https://github.com/huggingface/hub-docs/blob/main/datasetcard.md)."""
    built = configs["default"]
    rows = sum(manifest["configs"]["default"][split] for split in SPLITS)
    families = {TASKS[name].family for name in built}
    return {
        "pretty_name": title,
        "language": languages(manifest["locales"]),
        "license": sorted({_HUB_LICENCES.get(source["licence"], "other") for source in manifest["sources"].values()}),
        "task_categories": [
            "text-generation",
            *(category for family, category in _CATEGORIES.items() if family in families),
            *(["question-answering"] if any("questions" in TASKS[name].tables for name in built) else []),
        ],
        "task_ids": list(dict.fromkeys(found for name in built for found in _TASK_IDS.get(name, ()))) or ["language-modeling"],
        "annotations_creators": _creators(manifest, built),
        "language_creators": _creators(manifest, built),
        "size_categories": [_SIZES[min(max(len(str(rows)) - 3, 0), len(_SIZES) - 1)]],
        **({"source_datasets": found} if (found := _source_datasets(manifest)) else {}),
        "tags": ["e-commerce", "instruction-tuning", "trl", "sft", *(["synthetic"] if manifest["synthetic"] else [])],
        "configs": [
            {
                "config_name": config,
                **({"default": True} if config == "default" else {}),
                # `datasets` keys its cache of a local folder by this block and not by the files' content: without it, a
                # dataset that was built again in the same place would load the old rows.
                "description": f"fingerprint {manifest['configs'][config]['fingerprint']}",
                # A split without rows has no file: `load_dataset` cannot read an empty one.
                "data_files": [
                    {"split": split, "path": [data_pattern(name, split) for name in names if split in facts[name].splits]}
                    for split in SPLITS
                    if manifest["configs"][config][split]
                ],
            }
            for config, names in configs.items()
        ],
        "dataset_info": [
            _dataset_info(config, [facts[name] for name in names], LABEL_COLUMNS if manifest.get("annotations") else {})
            for config, names in configs.items()
        ],
    }


def _source_datasets(manifest: dict[str, Any]) -> list[str]:
    """Ids of corpora that their authors have on the Hub, `extended|other-NAME` of others; a shop's own rows are `original`."""
    if manifest["synthetic"]:
        return ["original"]
    others = {name: f"extended|other-{name.replace('_', '-')}" for name in REFERENCES}
    return list(dict.fromkeys((others | _ON_THE_HUB).get(name, "original") for name in sorted(manifest["sources"])))


def _creators(manifest: dict[str, Any], built: Sequence[str]) -> list[str]:
    """Who made what the rows ask for: corpora hold it as people left it, and programs made the rest."""
    made = manifest["synthetic"] or (manifest.get("queries_made_by") and "next_query" in built)
    return [*([] if manifest["synthetic"] else ["found"]), *(["machine-generated"] if made else [])]


def _dataset_info(config: str, members: Sequence[TaskFacts], label_columns: Mapping[str, str]) -> dict[str, Any]:
    """What `datasets` calls a DatasetInfo, as its `DatasetInfo._to_yaml_dict` writes it: the viewer need not count rows."""
    sizes = {split: [task.splits[split] for task in members if split in task.splits] for split in SPLITS}
    turns = [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}]
    worded = any(task.worded for task in members)
    return {
        "config_name": config,
        "features": [
            *({"name": name, "list": [dict(turn) for turn in turns]} for name in ("prompt", "completion")),
            *({"name": name, "dtype": "string"} for name in TEXT_COLUMNS),
            *(
                [{"name": WORDING, "dtype": "int64"}, {"name": UNSEEN, "list": [dict(turn) for turn in turns]}]
                if worded
                else []
            ),
            *({"name": name, "dtype": kind} for name, kind in label_columns.items()),
        ],
        "splits": [
            {"name": split, "num_bytes": sum(part.memory for part in parts), "num_examples": sum(part.rows for part in parts)}
            for split, parts in sizes.items()
            if parts
        ],
        "download_size": sum(part.files for parts in sizes.values() for part in parts),
        "dataset_size": sum(part.memory for parts in sizes.values() for part in parts),
    }


def card_title(text: str) -> str:
    """The dataset's name, from its card."""
    import yaml

    title: str = yaml.safe_load(text.split("---\n", 2)[1])["pretty_name"]
    return title


def _licences(members: Sequence[TaskFacts]) -> list[tuple[str, int]]:
    """Licence and rows under it, most rows first."""
    rows = sum((Counter(task.licences) for task in members), Counter[str]())
    return sorted(rows.items(), key=lambda item: (-item[1], item[0]))


def fence(text: str, language: str = "text") -> str:
    """A Markdown code block whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{language}\n{text}\n{marks}"


def cell(text: str) -> str:
    """Text as one line that Markdown shows as it stands, in a heading or a table's cell too."""
    return re.sub(r"[\\`*\[\]<>|~$&#]", r"\\\g<0>", " ".join(text.split()))
