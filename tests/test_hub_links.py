"""The search for links to nowhere finds each kind of them, and leaves those alone that lead somewhere."""

from itertools import count

import pytest

from tests.hub import Hub
from tests.hub_links import links_to_nowhere
from tests.loopback_repos import Repo

_names = count()


@pytest.fixture
def target() -> str:
    """The name of a repository that there is none of yet."""
    return f"org/links-target-{next(_names)}"


def put(hub: Hub, kind: str, repo_id: str, files: dict[str, str]) -> str:
    """The commit of a repository that is made for it."""
    app = hub._app
    repo = app.repos[kind, repo_id] = Repo(repo_id, kind, False, None, "")
    initial = repo.add_commit(None, {}, "initial commit", "", "alice")
    stored = {path: app.store(text.encode()) for path, text in files.items()}
    repo.branches["main"] = repo.add_commit(initial, stored, "a commit", "", "alice")
    return repo.branches["main"]


def found(hub: Hub, path: str, text: str, **more: str) -> list[str]:
    """What is said of a new model with this file."""
    repo_id = f"org/links-{next(_names)}"
    put(hub, "models", repo_id, {path: text, **more})
    return [said.removeprefix(f"models {repo_id}, a commit: ").strip() for said in links_to_nowhere(hub, {repo_id}, "org")]


@pytest.mark.parametrize(
    ("kind", "path", "text", "said"),
    [
        ("spaces", "app.py", 'load("{}")', "app.py names {}"),
        ("models", "README.md", "[it](https://huggingface.co/{})", "README.md links to models {}"),
        ("datasets", "README.md", "[it](https://huggingface.co/datasets/{})", "README.md links to datasets {}"),
        ("models", "README.md", "---\nbase_model: {}\n---\n", "README.md links to models {}"),
        ("models", "README.md", "---\nmodels: [{}]\n---\n", "README.md links to models {}"),
        ("datasets", "README.md", "---\ndatasets:\n- {}\n---\n", "README.md links to datasets {}"),
        ("models", "adapter_config.json", '{{"base_model_name_or_path": "{}"}}', "adapter_config.json links to models {}"),
        ("datasets", ".eval_results/a.yaml", "- dataset: {{id: {}}}", ".eval_results/a.yaml links to datasets {}"),
    ],
)
def test_what_comes_after_the_link_is_nowhere_and_what_was_there_is_not(
    hub: Hub, target: str, kind: str, path: str, text: str, said: str
) -> None:
    early = found(hub, path, text.format(target))
    assert said.format(target) in early
    put(hub, kind, target, {"file": "something"})
    assert found(hub, path, text.format(target)) == []


def test_a_repository_of_another_kind_is_not_what_is_linked_to(hub: Hub, target: str) -> None:
    put(hub, "spaces", target, {"file": "something"})
    said = f"README.md links to datasets {target}"
    assert found(hub, "README.md", f"---\ndatasets: [{target}]\n---\n") == [said]
    assert found(hub, "README.md", f"{hub.endpoint}/datasets/{target}") == [said]


def test_a_commit_that_the_dataset_never_had_is_nowhere(hub: Hub, target: str) -> None:
    commit = put(hub, "datasets", target, {"file": "something"})
    card = "---\nmodel-index:\n- results:\n  - dataset: {{type: {}, revision: {}}}\n---\n"
    assert found(hub, "README.md", card.format(target, commit)) == []
    assert found(hub, "README.md", card.format(target, "f" * 40)) == [f"README.md links to datasets {target} {'f' * 40}"]


@pytest.mark.parametrize("text", ["![plot](scores.png)", '<img src="scores.png" width="700">', "see [the scores](scores.png)"])
def test_a_picture_that_is_not_beside_its_card_is_nowhere(hub: Hub, text: str) -> None:
    assert found(hub, "README.md", text) == ["README.md shows scores.png"]
    assert found(hub, "README.md", text, **{"scores.png": "a picture"}) == []


def test_what_is_elsewhere_is_not_looked_up(hub: Hub) -> None:
    text = "---\nbase_model: some-lab/Tiny\n---\n[paper](https://arxiv.org/abs/1), [top](#top), https://huggingface.co/some-lab/Tiny"
    assert found(hub, "README.md", text) == []
