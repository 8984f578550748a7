"""The dataset card: YAML that the Hub and `load_dataset` read, and what a person wants to know."""

import re
from pathlib import Path
from typing import Any

from dataset_builders.tasks import FAMILIES, TASKS

REFERENCES = {
    "amazon_reviews_2018": (
        "Ni, Li and McAuley, Justifying recommendations using distantly-labeled reviews and fine-grained aspects, EMNLP 2019"
    ),
    "esci": "Reddy et al., Shopping Queries Dataset: a large-scale ESCI benchmark for improving product search, 2022",
    "merrec": "Li et al., MerRec: a large-scale multipurpose Mercari dataset for consumer-to-consumer recommendation, 2024",
    "amazonqa": "Gupta et al., AmazonQA: a review-based question answering task, IJCAI 2019",
    "ecinstruct": (
        "Peng et al., eCeLLM: generalizing large language models for e-commerce from large-scale instruction data, 2024"
    ),
}
_HUB_LICENCES = {"Apache-2.0": "apache-2.0", "CC-BY-4.0": "cc-by-4.0", "CC-BY-NC-4.0": "cc-by-nc-4.0"}
_SIZE_STEPS = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def data_file(task: str, split: str) -> str:
    """Path of a task's split inside the dataset folder."""
    return f"data/{task}/{split}-00000-of-00001.parquet"


def config_tasks(built: list[str]) -> dict[str, list[str]]:
    """Config name -> the tasks in it: each task, each family that has one, and `default` with all."""
    families = {family: [name for name in built if TASKS[name].family == family] for family in FAMILIES}
    return {
        "default": built,
        **{family: names for family, names in families.items() if names},
        **{name: [name] for name in built},
    }


def render_card(manifest: dict[str, Any], examples: dict[str, dict[str, str]], title: str) -> str:
    """The card's text from a build's manifest and one example of a prompt and completion per task."""
    import jinja2
    import yaml

    built = [name for name in TASKS if name in manifest["configs"]]
    counts = {name: manifest["configs"][name] for name in built}
    whole = manifest["configs"]["default"]
    rows = whole["train"] + whole["test"]
    metadata = {
        "pretty_name": title,
        "language": sorted({{"us": "en", "jp": "ja"}.get(locale, locale) for locale in manifest["locales"]}),
        "license": sorted({_HUB_LICENCES.get(source["licence"], "other") for source in manifest["sources"].values()}),
        "task_categories": ["text-generation", "text-classification", "text-ranking", "question-answering"],
        "size_categories": [next((name for bound, name in _SIZE_STEPS if rows < bound), "n>1M")],
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
                    {"split": split, "path": [data_file(name, split) for name in names if counts[name][split]]}
                    for split in ("train", "test")
                    if manifest["configs"][config][split]
                ],
            }
            for config, names in config_tasks(built).items()
        ],
    }
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["fence"] = fence
    environment.filters["cell"] = cell
    template = environment.from_string(Path(__file__).with_name("card.md").read_text(encoding="utf-8"))
    tasks = [
        {
            "name": name,
            "title": task.title,
            "family": task.family,
            "metric": task.metric,
            **counts[name],
            "example": examples.get(name),
        }
        for name, task in TASKS.items()
        if name in counts
    ]
    body = template.render(
        title=title,
        synthetic=manifest["synthetic"],
        repo_id=None,
        tasks=tasks,
        train=whole["train"],
        test=whole["test"],
        seed=manifest["seed"],
        sources=[
            {"name": name, **source, "reference": REFERENCES.get(name)} for name, source in sorted(manifest["sources"].items())
        ],
        not_built=manifest["not_built"],
        rejects=[
            (source, reason, count)
            for source, reasons in sorted(manifest["rejects"].items())
            for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        ],
    )
    return f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---\n\n{body}"


def fence(text: str) -> str:
    """A Markdown code block whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in _backtick_runs(text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}text\n{text}\n{marks}"


def cell(text: str) -> str:
    """Text that cannot break out of a Markdown table's cell."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def _backtick_runs(text: str) -> list[str]:

    return re.findall("`+", text)
