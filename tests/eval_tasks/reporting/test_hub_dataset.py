"""What a results file loses before it is published, and the configs of a repository of results."""

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_tasks.reporting.hub_dataset import config_name, configs, public_document, public_name

NAMES = st.text(string.ascii_letters + string.digits + "_-. ", min_size=1, max_size=12).filter(lambda name: name.strip(". "))
PATHS = st.lists(NAMES.map(lambda name: f"q{name}z"), min_size=2, max_size=5).map(lambda names: "/" + "/".join(names))


def document(**general: Any) -> dict[str, Any]:
    return {
        "config_general": {"model_name": "x", "model_config": {"model_name": "x"}, **general},
        "results": {"a|0": {"b": 0.25}},
    }


@given(PATHS, PATHS)
def test_no_folder_of_this_machine_is_left(path: str, other: str) -> None:
    given = document(
        cache_dir=path,
        learnt_from=f"train split of {path}@v1",
        words=[f"--data={path}", f"({other}/x.json)"],
        nested={"model": {"hf_repo": other}, f"{other}": 1},
    )
    told = json.dumps(public_document(given, "org/model"))
    for one in (path, other):
        assert one.rpartition("/")[0] not in told
    assert '"model_name": "org/model"' in told


@pytest.mark.parametrize(
    "text",
    [
        "org/name",
        "shop:also_buy|0",
        "https://huggingface.co/datasets/org/name",
        "partial(corpus_score, metric=hit rate@3)",
        "TaskScore(task=also_buy)",
        "precision/recall and 1/2 of it",
        "Answer yes/no.\nA/B: ",
    ],
)
def test_what_is_no_path_stays(text: str) -> None:
    assert public_document(document(text=text), "m")["config_general"]["text"] == text


def test_a_relative_folder_is_told_from_a_hub_id_by_being_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert public_name("outputs/merged") == "outputs/merged"
    Path("outputs/merged").mkdir(parents=True)
    assert public_name("outputs/merged") == "merged"
    cleaned = public_document(document(learnt_from="train split of outputs/merged", data="outputs/merged"), "m")
    assert (cleaned["config_general"]["learnt_from"], cleaned["config_general"]["data"]) == ("train split of merged", "merged")


def test_no_token_and_no_address_is_left() -> None:
    letters = string.ascii_lowercase[:24]  # written out, a token in a test looks like one that was lost
    given = document(
        api_key="secret-one",
        base_url="http://10.1.2.3:8000/v1",
        token="secret-two",
        note=f"with hf_{letters} and sk-{letters} at https://me:pw@host/v1",
        max_new_tokens=8,
        stop_tokens=["end"],
    )
    told = public_document(given, "m")["config_general"]
    assert (told["api_key"], told["base_url"], told["token"]) == (None, None, None)
    assert told["note"] == "with *** and *** at https://host/v1"
    assert (told["max_new_tokens"], told["stop_tokens"]) == (8, ["end"])


def test_scores_are_not_touched() -> None:
    assert public_document(document(), "m")["results"] == {"a|0": {"b": 0.25}}


def test_a_split_for_each_run_and_the_newest_of_each_task_is_latest() -> None:
    old, new = "2026-01-02T10-00-00.5", "2026-02-02T10-00-00.5"
    paths = [
        f"{old}/details_shop:also_buy|0_{old}.parquet",
        f"{new}/details_shop:also_buy|0_{new}.parquet",
        f"{old}/details_shop:next_query|2_{old}.parquet",
        *(f"results_{time}.{ending}" for time in (new, old) for ending in ("json", "parquet")),
        "README.md",
        "notes/details_of_mine.parquet",
    ]
    told = {config["config_name"]: config["data_files"] for config in configs(paths)}
    assert list(told) == ["results", "shop_also_buy_0", "shop_next_query_2"]
    splits = {name: [(file["split"], file["path"]) for file in files] for name, files in told.items()}
    assert splits["shop_also_buy_0"] == [
        ("2026_01_02T10_00_00.5", [paths[0]]),
        ("2026_02_02T10_00_00.5", [paths[1]]),
        ("latest", [paths[1]]),
    ]
    assert splits["shop_next_query_2"] == [("2026_01_02T10_00_00.5", [paths[2]]), ("latest", [paths[2]])]
    assert splits["results"][-1] == ("latest", [f"results_{new}.parquet"])
    assert config_name("shopping_mmlu:concept:task_1|0") == "shopping_mmlu_concept_task_1_0"
