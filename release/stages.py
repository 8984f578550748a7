"""The order in which a run goes to the Hub, each repository with links only to what is there by then.

The adapter comes before its results, which name it, and its card after them, since the scores in the model's repository link
to the answers. Every stage is the command of its own folder; what it finds done it leaves alone.
"""

import io
import shutil
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from common.collection import CollectionEntry
from common.commits import BranchHead, commit_folder
from common.files import every_file
from common.hub import RepoType, hub_errors, repo_url, retried, signed_in
from dataset_builders import publish as dataset_publish
from eval_tasks import publish as results_publish
from eval_tasks import publish_metric
from eval_tasks.reporting.hub_dataset import card, read_runs, write_files
from eval_tasks.reporting.model_index import over_former
from eval_tasks.reporting.model_metadata import ModelScores, shop_scores, write_entries
from eval_tasks.reporting.results import read_run
from model_card import build as model_card
from release.run_folder import RunFolder
from space import publish as space_publish
from training import publish as adapter_publish

CARD = "README.md"


@dataclass(frozen=True)
class Repositories:
    """Ids on the Hub."""

    dataset: str
    model: str
    results: str
    metric: str
    space: str


@dataclass(frozen=True)
class Stage:
    """A step towards one repository.

    `assemble` writes what would be sent into an empty folder, without a network, but for ids of commits; `push` sends it.
    """

    title: str
    repo_id: str
    repo_type: RepoType
    assemble: Callable[[Path], object]
    push: Callable[[], object]


def repositories(organisation: str, name: str) -> Repositories:
    parts = ("-instructions", "-lora", "-results", "_score", "-demo")
    return Repositories(*(f"{organisation}/{name}{part}" for part in parts))


def stages(run: RunFolder, hub: Repositories, private: bool) -> list[Stage]:
    return [
        Stage("dataset", hub.dataset, "dataset", partial(_dataset_files, run), partial(_push_dataset, run, hub, private)),
        Stage("adapter", hub.model, "model", partial(_adapter_files, run, hub), partial(_push_adapter, run, hub, private)),
        Stage("results", hub.results, "dataset", partial(_results_files, run, hub), partial(_push_results, run, hub, private)),
        Stage("metric", hub.metric, "space", partial(_metric_files, hub), partial(_push_metric, hub, private)),
        Stage("card and scores", hub.model, "model", partial(_card_files, run, hub), partial(_push_card, run, hub, private)),
        Stage("Space", hub.space, "space", partial(_space_files, run, hub), partial(_push_space, run, hub, private)),
    ]


def items(run: RunFolder, hub: Repositories) -> list[CollectionEntry]:
    """What the Collection holds, in its order."""
    return [
        CollectionEntry(hub.space, "space", "The demo: base and tuned model side by side, and how each answer is read."),
        CollectionEntry(hub.model, "model", f"The LoRA adapter of {run.base_model}, with its scores."),
        CollectionEntry(hub.dataset, "dataset", "The instructions that it was trained and measured on."),
        CollectionEntry(hub.results, "dataset", "Scores, and every answer that they are of."),
        CollectionEntry(hub.metric, "space", "The metric, for the evaluate library: it scores answers to these tasks."),
    ]


def _dataset_files(run: RunFolder, folder: Path) -> None:
    for path in dataset_publish.read_dataset(run.dataset).files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to((run.dataset / path).resolve())


def _push_dataset(run: RunFolder, hub: Repositories, private: bool) -> None:
    dataset_publish.publish(run.dataset, hub.dataset, private)


def _adapter_files(run: RunFolder, hub: Repositories, folder: Path) -> None:
    adapter_publish.assemble(folder, run.adapter, run.base_model, hub.dataset)


def _push_adapter(run: RunFolder, hub: Repositories, private: bool) -> None:
    adapter_publish.publish(run.adapter, hub.model, run.base_model, hub.dataset, private)


def _results_files(run: RunFolder, hub: Repositories, folder: Path) -> None:
    paths = write_files(folder, read_runs([run.tuned]), hub.model)
    (folder / CARD).write_text(card(hub.results, hub.model, read_run(run.tuned), paths), encoding="utf-8")


def _push_results(run: RunFolder, hub: Repositories, private: bool) -> None:
    options = ["--private"] if private else []
    results_publish.main(["--results", str(run.tuned), "--repo-id", hub.results, "--model", hub.model, *options])


def _metric_files(hub: Repositories, folder: Path) -> None:
    publish_metric.assemble(folder, hub.metric)


def _push_metric(hub: Repositories, private: bool) -> None:
    publish_metric.main(["--repo-id", hub.metric, *(["--private"] if private else [])])


def _card_files(run: RunFolder, hub: Repositories, folder: Path) -> None:
    _write_card(run, hub, folder, ["--data", str(run.dataset)], None)


def _push_card(run: RunFolder, hub: Repositories, private: bool) -> None:
    """Card, plot and scores in one commit, of the dataset as it is on the Hub at this moment."""
    with hub_errors(hub.dataset):
        commit = str(retried(lambda: signed_in().dataset_info(hub.dataset)).sha)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_card(run, hub, folder, ["--data", hub.dataset, "--revision", commit], commit)
        text = (folder / CARD).read_text(encoding="utf-8")
        commit_folder(
            folder,
            hub.model,
            "model",
            "Model card and scores",
            private=private,
            files=every_file(folder),
            contents={CARD: partial(_beside_others, text)},
        )


def _write_card(run: RunFolder, hub: Repositories, folder: Path, data: list[str], commit: str | None) -> None:
    """`commit`: of the dataset on the Hub, where that is known."""
    baselines = [word for path in run.baselines for word in ("--baseline-results", str(path))]
    results = ["--results", str(run.tuned), "--base-results", str(run.base), *baselines]
    base = [] if run.base_told else ["--base-model", run.base_model]
    places = ["--adapter", str(run.adapter), "--repo-id", hub.model, "--out", str(folder / CARD)]
    model_card.main([*places, *base, *results, *data])
    scores = shop_scores(read_run(run.tuned))
    times = results_publish.times_of(read_runs([run.tuned]), scores)
    write_entries(folder, ModelScores(scores, times, hub.dataset, commit), repo_url(hub.results, "dataset"))


def _beside_others(text: str, head: BranchHead) -> bytes:
    """The card, with the scores that others put into the metadata of the one that is there."""
    return over_former(text, head.text(CARD)).encode()


def _space_files(run: RunFolder, hub: Repositories, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:  # `folder` exists, and it replaces none that it did not make
        tree = Path(scratch) / "space"
        space_publish.main([*_space_options(run, hub), "--data", str(run.dataset), "--out", str(tree), "--dry-run"])
        shutil.copytree(tree, folder, dirs_exist_ok=True)


def _push_space(run: RunFolder, hub: Repositories, private: bool) -> None:
    options = [*_space_options(run, hub), "--data", hub.dataset, *(["--private"] if private else [])]
    space_publish.main(["--repo-id", hub.space, *options])


def _space_options(run: RunFolder, hub: Repositories) -> list[str]:
    report = ["--results", str(run.report.parent)] if run.report else []
    return ["--base-model", run.base_model, "--adapter", hub.model, "--dataset", hub.dataset, *report]


def quietly(action: Callable[[], object]) -> None:
    """What the commands of the stages tell of themselves is too much here; errors and warnings are shown."""
    with redirect_stdout(io.StringIO()):
        action()
