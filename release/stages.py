"""What a release publishes, in an order in which every link leads to something that is already on the Hub.

The adapter comes before its results, which name it, and the card after them, since the scores in the model's repository link to
the answers.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from common.collection import CollectionEntry
from common.files import every_file
from common.hub import RepoType, hub_errors, repo_url, retried, signed_in
from common.publishing import Assemble, BranchHead, Destination, Upload
from dataset_builders import publish as dataset
from eval_tasks import publish as results
from eval_tasks import publish_metric as metric
from eval_tasks.reporting.hub_dataset import read_runs
from eval_tasks.reporting.model_metadata import DatasetScores, over_former, shop_scores, times_of, write_entries
from eval_tasks.reporting.results import read_run
from model_card import build as card
from model_card.inputs import read_inputs
from release.run_folder import RunFolder
from space import publish as space
from training import publish as adapter

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
    """One commit in one repository."""

    title: str
    repo_id: str
    repo_type: RepoType
    assemble: Assemble


def repositories(organisation: str, name: str) -> Repositories:
    parts = ("-instructions", "-lora", "-results", "_score", "-demo")
    return Repositories(*(f"{organisation}/{name}{part}" for part in parts))


def stages(run: RunFolder, hub: Repositories) -> list[Stage]:
    return [
        Stage("dataset", hub.dataset, "dataset", partial(dataset.assemble, dataset=dataset.read_dataset(run.dataset))),
        Stage(
            "adapter",
            hub.model,
            "model",
            partial(adapter.assemble, adapter=run.adapter, base=run.base_model, dataset=hub.dataset),
        ),
        Stage("results", hub.results, "dataset", partial(results.assemble, runs=read_runs([run.tuned]), model=hub.model)),
        Stage("metric", hub.metric, "space", metric.assemble),
        Stage("card and scores", hub.model, "model", partial(assemble_card, run=run, hub=hub)),
        Stage("Space", hub.space, "space", partial(assemble_space, run=run, hub=hub)),
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


def assemble_card(folder: Path, destination: Destination, run: RunFolder, hub: Repositories) -> Upload:
    """Card, plot and scores in one commit; they name the dataset's commit on the Hub, except in a dry run."""
    commit = None if destination.dry_run else head_of(hub.dataset)
    tuned_scored, base_scored = run.scored
    inputs = read_inputs(
        run.adapter,
        [run.tuned, *tuned_scored],
        [run.base, *base_scored],
        run.baselines,
        base_model=run.base_model if run.base_given else None,
        data=hub.dataset if commit else str(run.dataset),
        revision=commit,
        repo_id=hub.model,
    )
    card.write(inputs, folder / CARD)
    scores = shop_scores(read_run(run.tuned))
    times = times_of(read_runs([run.tuned]), scores)
    write_entries(folder, DatasetScores(scores, times, hub.dataset, commit), repo_url(hub.results, "dataset"))
    readme = partial(card_over_head, (folder / CARD).read_text(encoding="utf-8"))
    return Upload(folder, "model", "Model card and scores", every_file(folder), {CARD: readme})


def card_over_head(text: str, head: BranchHead) -> bytes:
    """The card, with the scores that others put into the metadata of the repository's former one."""
    return over_former(text, head.text(CARD)).encode()


def head_of(dataset_id: str) -> str:
    """The dataset's newest commit on the Hub."""
    with hub_errors(dataset_id):
        return str(retried(lambda: signed_in().dataset_info(dataset_id)).sha)


def assemble_space(folder: Path, destination: Destination, run: RunFolder, hub: Repositories) -> Upload:
    """The Space, with examples from the dataset on the Hub, or in a dry run from its folder."""
    return space.assemble(
        folder,
        destination,
        data=str(run.dataset) if destination.dry_run else hub.dataset,
        links=space.Links(run.base_model, hub.model, hub.dataset),
        results=run.report.parent if run.report else None,
    )
