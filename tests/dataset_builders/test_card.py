"""The card's YAML is what the Hub reads, and no product's text can break out of its place in the Markdown."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders.card import cell, config_tasks, data_file, fence, render_card
from dataset_builders.tasks import FAMILIES, TASKS

BUILT = ["review_rating", "query_product_ranking", "also_buy", "answer_generation"]


def manifest(**changes: Any) -> dict[str, Any]:
    base = {
        "configs": {name: {"train": 1234, "test": 56, "fingerprint": "f" * 64} for name in config_tasks(BUILT)},
        "rejects": {"esci": {"query is missing": 3, "row is not CSV: a|b": 12345}},
        "sources": {
            "esci": {"licence": "Apache-2.0", "read": 100, "used": 90},
            "amazonqa": {"licence": "none stated", "read": 10, "used": 9},
        },
        "not_built": {"next_query": "needs the table events"},
        "synthetic": False,
        "locales": ["jp", "us"],
        "seed": 7,
    }
    return base | changes


def render(
    examples: dict[str, dict[str, str]] | None = None, title: str = "Shop", **changes: Any
) -> tuple[dict[str, Any], str]:
    card = render_card(manifest(**changes), examples or {}, title)
    head, body = re.fullmatch(r"---\n(.*?)\n---\n\n(.*)", card, re.DOTALL).groups()
    return yaml.safe_load(head), body


def test_configs_are_tasks_families_and_default_with_their_files() -> None:
    metadata, _ = render()
    configs = {config["config_name"]: config for config in metadata["configs"]}
    assert set(configs) == {*BUILT, *FAMILIES, "default"}
    assert [name for name, config in configs.items() if config.get("default")] == ["default"]
    for name, config in configs.items():
        tasks = BUILT if name == "default" else [task for task in BUILT if name in (task, TASKS[task].family)]
        assert config["data_files"] == [
            {"split": split, "path": [data_file(task, split) for task in tasks]} for split in ("train", "test")
        ]


def test_metadata_states_licences_languages_and_size() -> None:
    metadata, _ = render()
    assert metadata["license"] == ["apache-2.0", "other"]
    assert metadata["language"] == ["en", "ja"]
    assert metadata["size_categories"] == ["1K<n<10K"]
    assert "synthetic" not in metadata["tags"]


def test_a_synthetic_dataset_says_so_in_tags_and_text() -> None:
    metadata, body = render(synthetic=True)
    assert "synthetic" in metadata["tags"]
    assert "These rows are synthetic" in body
    assert "These rows are synthetic" not in render()[1]


def test_counts_rejects_and_what_was_not_built_are_told() -> None:
    _, body = render()
    assert "| `review_rating` | Rating of a review | multiple choice | accuracy | 1,234 | 56 |" in body
    assert "| esci | Apache-2.0 | 100 | 90 |" in body
    assert "| esci | row is not CSV: a\\|b | 12,345 |" in body
    assert "- `next_query`: needs the table events" in body
    assert "seed 7" in body
    assert "Reddy et al." in body


@pytest.mark.parametrize(
    "title", ["Shop: the # 'best' \"one\"", "[x]", "- a", "@you", "123", "null", "Löwe 狮", "a\nb: c", "{{ x }}"]
)
def test_any_title_is_kept_in_the_yaml(title: str) -> None:
    metadata, body = render(title=title)
    assert metadata["pretty_name"] == title
    assert metadata["configs"]
    assert "# " in body


def tables(body: str) -> list[list[str]]:
    """Runs of table lines outside of code blocks."""
    found: list[list[str]] = []
    open_fence, last = "", False
    for line in body.split("\n"):
        mark = re.match(r"`{3,}", line)
        if mark and (not open_fence or (mark[0] == line and len(line) >= len(open_fence))):
            open_fence = "" if open_fence else mark[0]
        is_row = line.startswith("|") and not open_fence
        if is_row:
            found = [*found[:-1], [*found[-1], line]] if last else [*found, [line]]
        last = is_row
    assert not open_fence, "a code block is left open"
    return found


NASTY = (
    "``` \n# Not a heading",
    "````\n```",
    "| a | b |\n|---|---|",
    "</details><script>alert(1)</script>",
    "---\nlicense: mit\n---",
    "{{ 7 * 7 }} {% raw %}",
    "`" * 50,
    "~~~",
)


@pytest.mark.parametrize("nasty", NASTY)
def test_text_of_examples_cannot_break_out_of_its_code_block(nasty: str) -> None:
    plain = render({name: {"prompt": "p", "completion": "c"} for name in BUILT})
    metadata, body = render({name: {"prompt": f"{nasty}\n{nasty}", "completion": nasty} for name in BUILT})
    assert metadata == plain[0]
    assert tables(body) == tables(plain[1])
    assert body.count(nasty) >= 3 * len(BUILT)


@given(text=st.text(st.sampled_from("`~ \na|"), max_size=30))
def test_a_fence_is_longer_than_any_run_of_backticks_in_it(text: str) -> None:
    first, *inside, last = fence(text).split("\n")
    assert "\n".join(inside) == text
    assert first == f"{last}text"
    assert last * 2 not in text
    assert last not in text


@given(text=st.text(st.sampled_from("\\| \n\r\ta`"), max_size=20))
def test_a_cell_stays_one_cell(text: str) -> None:
    result = cell(text)
    assert "\n" not in result
    assert "\r" not in result
    # Both readings of GFM: that any backslash escapes what follows, and that only one before a bar does.
    assert "|" not in re.sub(r"\\.", "", result)
    assert "|" not in result.replace("\\|", "")


def test_every_table_of_the_card_has_rows_of_one_width() -> None:
    _, body = render(rejects={"esci": {"a|b\\|c\nd": 1, "plain": 2}})
    found = tables(body)
    assert len(found) >= 4
    for rows in found:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_a_card_without_rejects_or_examples_is_whole() -> None:
    _, body = render(rejects={}, not_built={})
    assert "Tasks that were not built" not in body
    assert tables(body)
