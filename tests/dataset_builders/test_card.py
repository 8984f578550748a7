"""The card's YAML is what the Hub reads, and no product's text can break out of its place in the Markdown."""

import re
from fnmatch import fnmatchcase
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from common.dataset import config_tasks, data_file, data_pattern
from common.tasks import FAMILIES, TASKS
from dataset_builders.card import SplitSize, TaskFacts, card_text, cell, fence
from dataset_builders.citations import BIBTEX, REFERENCES
from tests.hub_metadata import metadata_errors

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


def facts(prompt: str = "p", completion: str = "c", licences: dict[str, int] | None = None) -> dict[str, TaskFacts]:
    splits = {"train": SplitSize(1234, 5000, 900), "test": SplitSize(56, 300, 90)}
    return {name: TaskFacts(splits, licences or {"Apache-2.0": 1290}, prompt, completion) for name in BUILT}


def render(found: dict[str, TaskFacts] | None = None, title: str = "Shop", **changes: Any) -> tuple[dict[str, Any], str]:
    card = card_text(manifest(**changes), found or facts(), {"Rows a task": "images/rows.png"}, title)
    # As huggingface_hub's RepoCard looks for the block.
    block = re.search(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$))", card)
    return yaml.safe_load(block[2]), card[block.end() :].removeprefix("\n")


def test_configs_are_tasks_families_and_default_with_their_files() -> None:
    metadata, _ = render()
    configs = {config["config_name"]: config for config in metadata["configs"]}
    assert set(configs) == {*BUILT, *FAMILIES, "default"}
    assert [name for name, config in configs.items() if config.get("default")] == ["default"]
    for name, config in configs.items():
        tasks = BUILT if name == "default" else [task for task in BUILT if name in (task, TASKS[task].family)]
        assert config["data_files"] == [
            {"split": split, "path": [data_pattern(task, split) for task in tasks]} for split in ("train", "test")
        ]


@pytest.mark.parametrize("shards", [1, 3, 12345])
def test_the_pattern_of_a_split_finds_its_files_only(shards: int) -> None:
    for split in ("train", "test"):
        names = [data_file("also_buy", split, shard, shards) for shard in {0, shards - 1}]
        assert all(fnmatchcase(name, data_pattern("also_buy", split)) for name in names)
        assert not any(fnmatchcase(name, data_pattern(*other)) for name in names for other in OTHERS[split])


OTHERS = {"train": [("also_buy", "test"), ("review_rating", "train")], "test": [("also_buy", "train"), ("next_query", "test")]}


def test_a_split_without_rows_is_in_no_config() -> None:
    found = facts()
    del found["also_buy"].splits["test"]
    counts = manifest()["configs"]
    for name in ("also_buy", "retrieval"):
        counts[name] = {**counts[name], "test": 0}
    metadata, _ = render(found, configs=counts)
    for config in metadata["configs"]:
        paths = {part["split"]: part["path"] for part in config["data_files"]}
        assert data_pattern("also_buy", "test") not in paths.get("test", [])
        assert ("test" in paths) == (config["config_name"] not in ("also_buy", "retrieval"))
    infos = {info["config_name"]: info for info in metadata["dataset_info"]}
    assert [split["name"] for split in infos["also_buy"]["splits"]] == ["train"]


def test_sizes_of_a_config_are_the_sums_of_its_tasks() -> None:
    infos = {info["config_name"]: info for info in render()[0]["dataset_info"]}
    assert infos["default"]["splits"] == [
        {"name": "train", "num_bytes": 4 * 5000, "num_examples": 4 * 1234},
        {"name": "test", "num_bytes": 4 * 300, "num_examples": 4 * 56},
    ]
    assert infos["ranking"]["dataset_size"] == 5300
    assert infos["default"]["download_size"] == 4 * 990


@pytest.mark.parametrize(
    ("rows", "size"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (1_000_000, "1M<n<10M")]
)
def test_the_size_category_is_that_of_all_rows(rows: int, size: str) -> None:
    counts = {name: {"train": rows, "test": 0, "fingerprint": "f"} for name in config_tasks(BUILT)}
    assert render(configs=counts)[0]["size_categories"] == [size]


def test_task_categories_are_those_of_the_tasks() -> None:
    assert render()[0]["task_categories"] == [
        "text-generation",
        "text-classification",
        "text-ranking",
        "text-retrieval",
        "question-answering",
    ]
    counts = {name: {"train": 1, "test": 1, "fingerprint": "f"} for name in config_tasks(["query_generation"])}
    found = {"query_generation": facts()["also_buy"]}
    assert render(found, configs=counts)[0]["task_categories"] == ["text-generation"]


def test_metadata_states_licences_languages_and_size() -> None:
    metadata, _ = render()
    assert metadata["license"] == ["apache-2.0", "other"]
    assert metadata["language"] == ["en", "ja"]
    assert metadata["size_categories"] == ["1K<n<10K"]
    assert "synthetic" not in metadata["tags"]


@pytest.mark.parametrize(
    ("changes", "creators"),
    [
        ({}, ["found"]),
        ({"synthetic": True}, ["machine-generated"]),
        ({"queries_made_by": "rule"}, ["found"]),  # of a task that was not built
    ],
)
def test_who_made_what_rows_ask_for_is_told(changes: dict[str, Any], creators: list[str]) -> None:
    metadata = render(**changes)[0]
    assert (metadata["annotations_creators"], metadata["language_creators"]) == (creators, creators)


def test_rows_in_words_are_counted_where_there_are_some() -> None:
    assert "1,207 rows to train on are asked in words" in render(in_words={"also_buy": 1200, "query_relation": 7})[1]
    for none in ({}, {"in_words": {}}, {"in_words": {"also_buy": 0}}):
        assert "asked in words" not in render(**none)[1]


def test_corpora_that_are_on_the_hub_are_named_there() -> None:
    assert "source_datasets" not in render(sources={})[0]
    assert render()[0]["source_datasets"] == ["extended|other-amazonqa", "extended|other-esci"]
    assert render(synthetic=True)[0]["source_datasets"] == ["original"]
    sources = {name: {"licence": "CC-BY-4.0", "read": 1, "used": 1} for name in ("merrec", "ecinstruct", "own")}
    assert render(sources=sources)[0]["source_datasets"] == ["NingLab/ECInstruct", "mercari-us/merrec", "original"]


@pytest.mark.parametrize("changes", [{}, {"synthetic": True}, {"locales": ["us"]}, {"sources": {}}])
def test_the_hub_takes_the_metadata(changes: dict[str, Any]) -> None:
    assert metadata_errors("dataset", render(**changes)[0]) == []


def test_limits_are_those_of_the_rows() -> None:
    limits = render()[1].partition("## Limits and biases")[2]
    assert "Names of persons in a text stay" in limits
    assert f"Prompts come from {len(TASKS['also_buy'].templates)} wordings a task" in limits
    invented = render(synthetic=True)[1].partition("## Limits and biases")[2]
    assert "invented" in invented
    assert "customers and sellers wrote" not in invented


def test_every_record_in_a_row_is_said_too() -> None:
    assert "Every record that was read is in a row." in render(rejects={})[1]


def test_a_synthetic_dataset_says_so_in_tags_and_text() -> None:
    metadata, body = render(synthetic=True)
    assert "synthetic" in metadata["tags"]
    assert "These rows are synthetic" in body
    assert "These rows are synthetic" not in render()[1]


def test_counts_rejects_and_what_was_not_built_are_told() -> None:
    _, body = render()
    assert "| Rating of a review<br>`review_rating` | multiple choice, accuracy | 1,234 | 56 |" in body
    assert "| Ranking products for a query<br>`query_product_ranking` | ranking, NDCG | 1,234 | 56 |" in body
    assert "| esci | Apache-2.0 | 100 | 90 |" in body
    assert "| esci | row is not CSV: a\\|b | 12,345 |" in body
    assert "- `next_query`: needs the table events" in body
    assert "seed 7" in body
    assert "- esci (Apache-2.0): Reddy et al." in body
    assert '<img src="images/rows.png" width="520" alt="Rows a task">' in body
    assert "<details><summary>12,348 records, by the reason for each</summary>\n\n| source" in body


def test_each_config_names_the_licences_of_its_rows() -> None:
    found = facts() | {"also_buy": facts(licences={"none stated": 5, "Apache-2.0": 7})["also_buy"]}
    _, body = render(found)
    assert "| `retrieval` | Apache-2.0 (7), none stated (5) |" in body
    assert "| `default` | Apache-2.0 (3,877), none stated (5) |" in body
    assert "| `ranking` | Apache-2.0 (1,290) |" in body


def test_what_was_left_out_and_masked_is_told() -> None:
    _, body = render(
        decontamination=[{"set": "ShopBench", "rule": "8-gram", "rows": 1200}, {"set": "ESCI|test", "rule": "", "rows": 0}],
        near_duplicates={"also_buy": 34, "review_rating": 0},
        masked={"amazonqa": {"e-mail": 3}},
        short={"also_buy": {"train": 100, "test": 7}},
    )
    for line in (
        "| ShopBench | 8-gram | 1,200 |",
        "| ESCI\\|test |  | 0 |",
        "| `also_buy` | 34 |",
        "| amazonqa | 3 | 0 |",
        "| `also_buy` | 100 | 7 |",
    ):
        assert line in body.split("\n")
    assert "| `review_rating` | 0 |" not in body
    _, body = render()
    for word in ("Near duplicates", "Evaluation sets", "Personal data", "did not suffice"):
        assert word not in body
    _, body = render(decontamination=[], near_duplicates={}, masked={}, short={})
    for sentence in (
        "No row says nearly what another row of its task says.",
        "The train rows were compared with no evaluation set.",
        "No e-mail address and no telephone number was found.",
    ):
        assert sentence in body
    assert "did not suffice" not in body


@pytest.mark.parametrize(
    ("made_by", "sentence"), [("rule", "were made by rule"), ("model", "were written by a language model")]
)
def test_how_the_next_queries_were_made_is_told_where_there_are_any(made_by: str, sentence: str) -> None:
    counts = {name: {"train": 1, "test": 1, "fingerprint": "f"} for name in config_tasks(["next_query"])}
    metadata, body = render({"next_query": facts()["also_buy"]}, configs=counts, queries_made_by=made_by)
    assert metadata["annotations_creators"] == ["found", "machine-generated"]
    assert sentence in body
    assert sentence not in render(queries_made_by=made_by)[1]


def test_each_reference_has_an_entry_that_bibtex_reads() -> None:
    assert BIBTEX.keys() == REFERENCES.keys()
    for entry in BIBTEX.values():
        assert re.fullmatch(r"@(article|inproceedings)\{\w+,\n.*\n\}", entry, re.DOTALL)
        assert entry.count("{") == entry.count("}")
        assert entry.isascii()
    assert len({entry.split(",")[0] for entry in BIBTEX.values()}) == len(BIBTEX)
    _, body = render()
    assert body.count("@article") == 2
    assert "```bibtex\n@article{gupta2019amazonqa," in body
    assert "## Citation" not in render(sources={"own": {"licence": "own data", "read": 1, "used": 1}})[1]


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


def annotation(name: str) -> dict[str, Any]:
    """A check of labels by a model of this name, with labels and reasons of the same."""
    found = {"answers": 20, "unreadable": 1, "refused": {name: 2}, "agreed": 12, "share": 0.6, "chance": 0.25, "kappa": None}
    labels = {"labels": {name: {"answers": 20, "agreed": 12}}, "confusion": {name: {name: 12}}}
    return {
        "models": [name, name],
        "policy": "two-models",
        "samples": 3,
        "temperature": 0.7,
        "bounds": {"retrieval": 0.67, "ranking": 0.95},
        "splits": ["train", "test"],
        "tasks": {"review_rating": {"read": 20, "kept": 12, "rejects": {name: 8}, "models": {name: found | labels}}},
        "not_asked": ["also_buy"],
        "picture": "images/agreement-1.png",
    }


NASTY = (
    "``` \n# Not a heading",
    "````\n```",
    "| a | b |\n|---|---|",
    "</details><script>alert(1)</script>",
    "---\nlicense: mit\n---",
    "{{ 7 * 7 }} {% raw %}",
    "`" * 50,
    "~~~",
    "<|im_end|>\n<|im_start|>system",
    "@misc{x, title = {",
    "$$x$$ & ![x](images/rows.png)",
)


@pytest.mark.parametrize("nasty", NASTY)
def test_names_and_reasons_from_files_cannot_break_table_or_yaml(nasty: str) -> None:
    def shown(text: str) -> tuple[dict[str, Any], str]:
        return render(
            facts(licences={text: 1}),
            title=text,
            rejects={text: {text: 1}},
            sources={text: {"licence": text, "read": 1, "used": 1}},
            not_built={"next_query": text},
            decontamination=[{"set": text, "rule": text, "rows": 1}],
            masked={text: {"phone": 1}},
            annotations=[annotation(text), annotation(text)],
            session_queries={"models": [text], "rows": {"model": 3, "rule": 1}},
        )

    (metadata, body), (plain_metadata, plain) = shown(nasty), shown("plain")
    assert metadata == {**plain_metadata, "pretty_name": nasty}
    assert [len(rows) for rows in tables(body)] == [len(rows) for rows in tables(plain)]
    for rows in tables(body):
        assert len({len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", row))) for row in rows}) == 1
    assert len(body.split("\n")) == len(plain.split("\n"))
    assert "<script" not in re.sub(r"\\.", "", body)


@pytest.mark.parametrize("nasty", NASTY)
def test_text_of_examples_cannot_break_out_of_its_code_block(nasty: str) -> None:
    plain = render()
    metadata, body = render(facts(f"{nasty}\n{nasty}", nasty))
    assert metadata == plain[0]
    assert tables(body) == tables(plain[1])
    assert body.count(nasty) >= 3 * len(BUILT)


ONE = {name: {"train": 9, "test": 1, "fingerprint": "f"} for name in ("default", "retrieval", "also_buy")}


@given(st.lists(st.sampled_from(NASTY) | st.text(max_size=20), max_size=4).map("\n".join))
def test_any_text_keeps_its_place_in_card_and_yaml(text: str) -> None:
    def shown(text: str) -> tuple[dict[str, Any], str]:
        return render({"also_buy": facts(text, text)["also_buy"]}, title=text, configs=ONE, rejects={"esci": {text: 1}})

    (metadata, body), (plain_metadata, plain) = shown(text), shown("plain")
    assert metadata == {**plain_metadata, "pretty_name": text}
    assert [len(rows) for rows in tables(body)] == [len(rows) for rows in tables(plain)]
    assert body.count(text) >= 2


@given(text=st.text(st.sampled_from("`~ \na|"), max_size=30))
def test_a_fence_is_longer_than_any_run_of_backticks_in_it(text: str) -> None:
    first, *inside, last = fence(text).split("\n")
    assert "\n".join(inside) == text
    assert first == f"{last}text"
    assert last * 2 not in text
    assert last not in text


@given(text=st.text(st.sampled_from("\\| \n\r\ta`<[$") | st.characters(), max_size=20))
def test_a_cell_stays_one_cell(text: str) -> None:
    result = cell(text)
    assert len(result.splitlines()) <= 1
    assert not re.search(r"[`<\[$]", re.sub(r"\\.", "", result))
    assert "\n" not in result
    assert "\r" not in result
    # Both readings of GFM: that any backslash escapes what follows, and that only one before a bar does.
    assert "|" not in re.sub(r"\\.", "", result)
    assert "|" not in result.replace("\\|", "")


def test_a_check_of_labels_is_told_with_its_policy_and_columns() -> None:
    metadata, body = render(annotations=[annotation("judge")])
    assert "judge and judge answered the prompts of the rows in train and test, 3 times each at temperature 0.7." in body
    assert "where both models agree" in body
    assert "| `review_rating` | 20 | 12 | judge (8) |" in body
    assert "| `review_rating`<br>judge | 20 | 1 | 2 | 60.0 % | 25.0 % |  |" in body
    assert "| `review_rating`<br>judge | judge | 20 | 60.0 % |" in body
    assert '<img src="images/agreement-1.png" width="520"' in body
    assert "Not asked, and as they were, are the rows of\n`also_buy`." in body
    assert "| `label_votes` |" in body
    for info in metadata["dataset_info"]:
        assert info["features"][-1] == {"name": "label_agreement", "dtype": "float64"}
    plain = render()
    assert "label_" not in plain[1]
    assert "language model" not in plain[1]


def test_every_table_of_the_card_has_rows_of_one_width() -> None:
    _, body = render(rejects={"esci": {"a|b\\|c\nd": 1, "plain": 2}})
    found = tables(body)
    assert len(found) >= 4
    for rows in found:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_a_card_without_rejects_is_whole() -> None:
    _, body = render(rejects={}, not_built={})
    assert "Tasks that were not built" not in body
    assert tables(body)
