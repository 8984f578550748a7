"""Scores in a model's metadata: card and eval_tasks.publish write beside each other, and the Hub's own checks take both."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, HfApi, ModelCard, metadata_load, parse_eval_result_entries
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from common.errors import UserError
from common.tasks import TASKS
from eval_tasks.backends.cache_key import data_version
from eval_tasks.publish import main as publish_results
from eval_tasks.reporting.model_metadata import contradicted, eval_result, over_former, with_results
from model_card.build import main as model_card
from tests.eval_tasks.runs import said, write_run
from tests.hub import REDIRECT, Hub, run_main
from tests.model_card.files import write_adapter, write_base_model, write_data

Command = tuple[Any, ...]
"""A command's `main`, and its command line."""

pytestmark = pytest.mark.usefixtures("hub_client")
SCORES = {"also_buy": [0.25, 0.5, 0.75], "review_rating": [1.0, 0.0, 1.0]}
"""Not in the order of the tasks: files of lighteval keep none."""

THEIRS = EvalResult(
    task_type="text-generation",
    dataset_type="their/benchmark",
    dataset_name="theirs",
    metric_type="accuracy",
    metric_value=0.25,
)


def readme(*results: EvalResult, body: str = "# Words\n") -> str:
    index = yaml.safe_dump({"model-index": eval_results_to_model_index("m", list(results))}) if results else ""
    return f"---\nlicense: mit\n{index}---\n{body}"


def result(task: str, value: float, dataset: str | None) -> EvalResult:
    return eval_result(TASKS[task], value, 0, dataset, "c0ffee" if dataset else None)


def results_of(text: str) -> list[tuple[str, str | None, float]]:
    return [(one.dataset_type, one.dataset_config, one.metric_value) for one in ModelCard(text).data.eval_results or []]


def test_a_result_survives_the_hubs_own_round_trip() -> None:
    for task in TASKS:
        index = eval_results_to_model_index("m", [result(task, 0.12345, "org/rows")])
        name, (back,) = model_index_to_eval_results(index)
        assert (name, back.dataset_config, back.metric_value) == ("m", task, 0.1235)
        assert back == result(task, 0.12345, "org/rows")


def test_new_scores_take_the_place_of_former_and_local_ones_and_leave_others() -> None:
    before = readme(THEIRS, result("also_buy", 0.1, None), result("review_rating", 0.2, "org/rows"))
    after = with_results(before, [result("also_buy", 0.5, "org/rows")], "other name")
    assert results_of(after) == [
        ("their/benchmark", None, 0.25),
        ("org/rows", "review_rating", 0.2),
        ("org/rows", "also_buy", 0.5),
    ]
    assert after.startswith("---\nlicense: mit\nmodel-index:\n- name: m\n")
    assert after.endswith("# Words\n")
    assert with_results(after, [result("also_buy", 0.5, "org/rows")], "other name") == after


def test_a_new_card_keeps_what_others_put_into_the_former_one() -> None:
    card = readme(result("also_buy", 0.5, None), result("review_rating", 0.4, None), body="# New\n")
    former = readme(
        THEIRS,
        result("also_buy", 0.5, "org/rows"),  # published: the same score
        result("review_rating", 0.3, "org/rows"),  # published before: another one
        result("next_query", 0.2, None),  # of a former card
    )
    after = over_former(card, former)
    assert results_of(after) == [
        ("their/benchmark", None, 0.25),
        ("org/rows", "review_rating", 0.3),
        ("org/rows", "also_buy", 0.5),
        ("local", "review_rating", 0.4),
    ]
    assert after.endswith("# New\n")
    assert over_former(card, after) == after


@pytest.mark.parametrize("former", ["", "no metadata", "---\na: [\n---\n", "---\nmodel-index: 3\n---\n", readme()])
def test_a_former_card_without_scores_gives_way(former: str) -> None:
    card = readme(result("also_buy", 0.5, None))
    assert results_of(over_former(card, former)) == [("local", "also_buy", 0.5)]


def test_metadata_that_cannot_be_read_is_not_written_over() -> None:
    with pytest.raises(UserError, match=r"README\.md cannot be read .* mend it on the Hub"):
        with_results("---\na: [\n---\n", [result("also_buy", 0.5, None)], "m")


def test_other_values_in_the_hubs_other_form_are_found() -> None:
    entries = [
        {"dataset": {"id": "org/rows", "task_id": task}, "value": value}
        for task, value in (("also_buy", 0.5), ("review_rating", 0.3), ("a", 1))
    ]
    files = {".eval_results/a.yaml": yaml.safe_dump(entries), ".eval_results/b.yaml": "]", ".eval_results/c.yaml": "- 3"}
    assert contradicted({"also_buy": 0.5, "review_rating": 0.4, "next_query": 0.1}, files) == ["review_rating"]


# --- On the Hub, in either order ---


class PublishedModel:
    """A model that was evaluated on a dataset on the Hub, and what puts its card and its scores there."""

    def __init__(self, hub: Hub, folder: Path, name: str) -> None:
        self.hub, self.folder, self.model, self.rows = hub, folder, f"org/{name}", f"org/{name}-rows"
        configs = {task: {"train": 9, "test": 3, "fingerprint": task * 3} for task in SCORES}
        self.data = write_data(folder / "data", configs=configs)
        write_adapter(folder / "adapter", str(write_base_model(folder / "model")), dataset_fingerprint=None)
        self.evaluate(SCORES)
        api = HfApi()
        manifest, trainers = (self.data / "manifest.json").read_bytes(), readme(THEIRS).encode()
        for repo, kind, path, content in (
            (self.rows, "dataset", "manifest.json", manifest),
            (self.model, "model", "README.md", trainers),
        ):
            api.create_repo(repo, repo_type=kind)
            api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo, repo_type=kind)

    def evaluate(self, scores: dict[str, list[float]], time: str = "2026-01-02T10-00-00.000001") -> None:
        run = write_run(
            self.folder / "run", {f"shop:{task}": said(*values) for task, values in scores.items()}, model="adapter", time=time
        )
        for file in run.rglob("results_*.json"):
            document = json.loads(file.read_text())
            for key, config in document["config_tasks"].items():
                config["version"] = data_version(key.removeprefix("shop:").removesuffix("|0") * 3)
            file.write_text(json.dumps(document))

    def card(self, data: object) -> Command:
        places = ("--adapter", self.folder / "adapter", "--results", self.folder / "run", "--out", self.folder / "README.md")
        return (model_card, *places, "--data", data, "--repo-id", self.model, "--push")

    def scores(self) -> Command:
        repositories = ("--repo-id", f"{self.model}-results", "--model-repo", self.model, "--data", self.rows)
        return (publish_results, "--results", self.folder / "run", *repositories)

    def do(self, *commands: Command) -> list[str]:
        """Runs the commands one after another; what each printed."""
        done = [run_main(main, *words) for main, *words in commands]
        assert [one.returncode for one in done] == [0] * len(done), done
        return [one.stdout + one.stderr for one in done]

    def held(self) -> tuple[list[tuple[str, str | None, float]], dict[str, float]]:
        """model-index and entries of .eval_results, as the Hub's client reads them."""
        files = self.hub.files(self.model)
        entries = [
            entry
            for path, content in files.items()
            if path.startswith(".eval_results/")
            for entry in parse_eval_result_entries(yaml.safe_load(content))
        ]
        return results_of(files["README.md"].decode()), {entry.task_id: entry.value for entry in entries}


VALUES = {"review_rating": 0.6667, "also_buy": 0.5}
BENCHMARK = {"review_rating": 0.6667}
"""Those of the tasks that the dataset's eval.yaml has: .eval_results holds no other."""


@pytest.mark.parametrize("first", ["card", "scores"])
@pytest.mark.parametrize("where", ["folder", "hub"])
def test_card_and_scores_are_pushed_in_any_order_and_again_and_lose_or_double_nothing(
    hub: Hub, tmp_path: Path, first: str, where: str
) -> None:
    run = PublishedModel(hub, tmp_path, f"both-{first}-{where}")
    steps = [run.card(run.data if where == "folder" else run.rows), run.scores()]
    run.do(*(steps if first == "card" else steps[::-1]))
    theirs, published = ("their/benchmark", None, 0.25), [(run.rows, task, value) for task, value in VALUES.items()]
    assert run.held() == ([theirs, *published], BENCHMARK)
    assert "## Quick start" in hub.files(run.model)["README.md"].decode()
    assert {one["name"] for one in metadata_load(tmp_path / "README.md")["model-index"]} == {run.model.split("/")[1]}

    head = hub.head(run.model)
    assert all("nothing to do, it is all there" in said for said in run.do(*steps))
    assert hub.head(run.model) == head


def test_a_card_of_new_scores_beside_published_old_ones_warns(hub: Hub, tmp_path: Path) -> None:
    run = PublishedModel(hub, tmp_path, "both-new")
    run.do(run.scores())
    run.evaluate(SCORES | {"review_rating": [1.0, 1.0, 1.0]}, time="2027-01-02T10-00-00.000001")
    first, _, second = run.do(run.card(run.rows), run.scores(), run.card(run.rows))
    assert ".eval_results in org/both-new holds other scores of review_rating than this card; run eval_tasks.publish" in first
    assert "warning" not in second
    assert run.held()[1] == {"review_rating": 1.0}
    assert (run.rows, "review_rating", 1.0) in run.held()[0]


def test_the_hubs_own_checks_take_the_card_and_would_refuse_a_wrong_one(hub: Hub, tmp_path: Path) -> None:
    run = PublishedModel(hub, tmp_path, "checked")
    asked = len(hub.requests)
    run.do(run.card(run.rows))
    assert ("POST", "/api/validate-yaml", 200) in hub.requests[asked:], "create_commit asks the Hub about README.md"
    (tmp_path / "sitecustomize.py").write_text(REDIRECT)
    script = """
import sys
from huggingface_hub import ModelCard
card = ModelCard.load(sys.argv[1])
card.validate()
card.data.license = "Apache"
try:
    card.validate()
except ValueError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "README.md")],
        env=hub.env(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "license" in done.stdout


def served(repo_id: str) -> Any:
    return HfApi().model_info(repo_id, expand=["evalResults", "cardData"])


def test_what_the_hub_shows_of_both_forms_is_the_same(hub: Hub, tmp_path: Path) -> None:
    run = PublishedModel(hub, tmp_path, "shown")
    run.do(run.card(run.rows), run.scores())
    info = served(run.model)
    shown = {entry.task_id: (entry.value, entry.dataset_revision) for entry in info.eval_results}
    index = {one.dataset_config: (one.metric_value, one.dataset_revision) for one in info.card_data.eval_results}
    assert (
        {task: index[task] for task in shown}
        == shown
        == {task: (value, hub.head(run.rows, "dataset")) for task, value in BENCHMARK.items()}
    )
