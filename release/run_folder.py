"""The folder of a run, as `make demo` leaves it, and the checks that its parts belong together."""

from dataclasses import dataclass, replace
from pathlib import Path

from common.dataset import Manifest, as_hub_id, read_manifest
from common.errors import UserError
from common.files import read_object, sha256_of
from dataset_builders.publish import read_dataset
from eval_tasks.reporting.hub_dataset import read_runs
from eval_tasks.reporting.model_metadata import check_rows, shop_scores
from eval_tasks.reporting.results import read_run
from eval_tasks.suites.suite import UNSEEN, suite_name
from training.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, SUMMARY
from training.publish import adapter_files, base_on_hub

AGAIN = "make it again"


@dataclass(frozen=True)
class RunFolder:
    """`tuned` and `base` are results; `base_model` is the base's Hub id, `base_given` whether the user named it."""

    dataset: Path
    adapter: Path
    tuned: Path
    base: Path
    base_model: str = ""
    base_given: bool = False

    @property
    def places(self) -> list[Path]:
        """Folders of this machine that a file of the run may name."""
        base = Path(str(read_object(self.adapter / ADAPTER_CONFIG, AGAIN).get("base_model_name_or_path") or ""))
        return [self.dataset, self.adapter, self.tuned, self.base, *([base] if base.is_dir() else [])]

    @property
    def report(self) -> Path | None:
        """scores.json of the report beside the tuned model's results; None without a report."""
        scores = self.tuned.parent / "report" / "scores.json"
        return scores if scores.is_file() else None

    @property
    def scored(self) -> tuple[list[Path], list[Path]]:
        """Results with scored answers, of the tuned model and of the base, where they stand beside those with written ones."""

        def beside(results: Path) -> list[Path]:
            scored = results.with_name(f"{results.name}_scored")
            return [scored] if any(scored.rglob("results_*.json")) else []

        return beside(self.tuned), beside(self.base)

    @property
    def baselines(self) -> list[Path]:
        """Results of baselines beside the tuned model's."""
        beside = [path for path in sorted(self.tuned.parent.iterdir()) if path.is_dir() and any(path.rglob("results_*.json"))]
        return [path for path in beside if read_run(path).baseline]


def read_run_folder(
    folder: Path, tuned: Path | None = None, base: Path | None = None, base_model: str | None = None
) -> RunFolder:
    """The run in a folder with `dataset`, `adapter` and `results`, once it is known to be complete and consistent.

    tuned, base: results elsewhere than in `results/tuned` and `results/base`; base_model: Hub id of the adapter's base, by
    default as the adapter says. Raises UserError with what is missing or does not match.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the OUT of make demo")
    run = RunFolder(
        folder / "dataset", folder / "adapter", tuned or folder / "results" / "tuned", base or folder / "results" / "base"
    )
    for name, results in (("tuned", run.tuned), ("base", run.base)):
        if not results.exists():
            raise UserError(
                f"there is no {results}; evaluate with eval_tasks.run --names base,tuned, or say where the {name} results are"
            )
    read_dataset(run.dataset)
    adapter_files(run.adapter)
    data = replace(read_manifest(str(run.dataset)), hub_id=str(run.dataset))  # the name in an error message
    _check_training_rows(run, data)
    _check_results(run, data)
    _check_report(run)
    return replace(run, base_model=_base_model(run.adapter, base_model), base_given=base_model is not None)


def _base_model(adapter: Path, given: str | None) -> str:
    found = given or base_on_hub(adapter)
    if as_hub_id(found) is None or found.count("/") != 1:
        raise UserError(f"the base model {found!r} is not an id on the Hub; publish that model and give --base-model org/name")
    return found


def _check_training_rows(run: RunFolder, data: Manifest) -> None:
    summary = read_object(run.adapter / SUMMARY, AGAIN)
    trained, config = summary.get("dataset_fingerprint"), data.configs.get(str(summary.get("dataset_config") or "default"))
    if trained and trained != (config and config.fingerprint):
        raise UserError(
            f"{run.adapter} was trained on other rows than {run.dataset} holds; publish the dataset that it was trained on, "
            "or train it again"
        )


def _check_results(run: RunFolder, data: Manifest) -> None:
    for results in (run.tuned, run.base):
        found = read_run(results)
        if found.max_samples:
            raise UserError(
                f"{results} asked at most {found.max_samples} rows of a task, which is no score of the dataset; evaluate "
                "without --max-samples"
            )
        if found.baseline:
            raise UserError(f"{results} holds the results of a baseline and not of a model; give another folder")
        check_rows(shop_scores(found), data)
    measured, weights = measured_weights(run.tuned), (sha256_of(run.adapter / ADAPTER_WEIGHTS), 1.0)
    if measured and measured != {weights}:
        raise UserError(f"{run.tuned} was measured with other weights than {run.adapter} has; evaluate this adapter again")
    if measured_weights(run.base):
        raise UserError(f"{run.base} was measured with an adapter; evaluate the base alone, or say where its results are")


def _check_report(run: RunFolder) -> None:
    """Raises UserError for a report on other results: the Space shows its scores."""
    if run.report is None:
        return
    measured = {task: score.value for task, score in read_run(run.tuned).scores.items() if suite_name(task) != UNSEEN}
    document = read_object(run.report, AGAIN)
    try:
        reported = {line["task"]: line["scores"] for line in document["tasks"]}
        same = any(
            all(reported.get(task, {}).get(name) == value for task, value in measured.items()) for name in document["names"]
        )
    except (KeyError, TypeError, AttributeError):
        same = False
    if not same:
        raise UserError(
            f"{run.report.parent} is not a report on {run.tuned}; make it again with eval_tasks.report, or remove it"
        )


def measured_weights(results: Path) -> set[tuple[str, float]]:
    """sha256 and weight of each adapter that answered: beside its base, or merged into a folder that still exists.

    Empty where the results record none.
    """
    found: set[tuple[str, float]] = set()
    for run in read_runs([results]):
        config = run.document.get("config_general", {}).get("model_config") or {}
        if sha256 := config.get("adapter_sha256"):
            found.add((str(sha256), 1.0))
        merge = Path(str(config.get("model_name") or "")) / "merge.json"
        if merge.is_file():
            parts = read_object(merge, AGAIN).get("adapters", ())
            found |= {(str(part.get("sha256")), float(part.get("weight") or 0)) for part in parts}
    return found
