"""training/mixture.py: which rows an epoch has, in which mixture, which are held out, and what is refused."""

import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from tests.training.conftest import COMPLETIONS, ROWS, make_row
from training.mixture import (
    apportion,
    cap_tasks,
    content_key,
    dataset_fingerprint,
    load_rows,
    mixture,
    parse_count,
    print_composition,
    select_tasks,
    split_validation,
    take,
    task_counts,
    word_row_counts,
)

COUNTS = st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e"]), st.integers(1, 10**6), min_size=1)
FEW = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 9), min_size=1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the tests' rows out of the user's datasets cache."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


def dataset(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(rows)


def rows_of(counts: dict[str, int], seed: int = 0) -> list[dict[str, Any]]:
    """Rows of the tasks, mixed, each with its sample id."""
    rows = [{"task": task, "sample_id": f"{task}-{number}"} for task, count in counts.items() for number in range(count)]
    random.Random(seed).shuffle(rows)
    return rows


def test_rows_in_words_are_counted_by_their_answers() -> None:
    said = {"also_buy": ["1,3", "yes", "no"], "query_product_ranking": ["1,2,3,4,5"], "review_rating": ["5"], "own": ["yes"]}
    rows = [
        {"task": task, "completion": [{"role": "assistant", "content": text}]} for task, texts in said.items() for text in texts
    ]
    assert word_row_counts(dataset(rows)) == {"also_buy": 2, "query_product_ranking": 0}


def refusal(weights: str) -> str:
    with pytest.raises(UserError) as refused:
        mixture({"also_buy": 30, "review_rating": 10}, weights)
    return str(refused.value)


# How many rows of each task


@given(
    shares=st.dictionaries(st.text(max_size=3), st.floats(1e-6, 1e6), min_size=1, max_size=12),
    total=st.integers(0, 10**7),
)
def test_apportioned_rows_sum_to_the_total_and_are_within_one_of_the_exact_share(shares: dict[str, float], total: int) -> None:
    seats = apportion(shares, total)
    assert list(seats) == list(shares)
    assert sum(seats.values()) == total
    for name, share in shares.items():
        assert abs(seats[name] - total * share / sum(shares.values())) < 1 + 1e-6


def test_what_rounding_leaves_over_goes_to_the_largest_remainders() -> None:
    assert apportion({"a": 5.0, "b": 3.0, "c": 2.0}, 7) == {"a": 4, "b": 2, "c": 1}  # 3.5, 2.1, 1.4
    assert apportion({"b": 1.0, "a": 1.0}, 3) == {"b": 1, "a": 2}, "of equal ones the first by name"


@given(counts=COUNTS)
def test_proportional_and_a_temperature_of_one_leave_the_rows_as_they_are(counts: dict[str, int]) -> None:
    assert mixture(counts, "proportional") == counts
    assert mixture(counts, "temperature=1") == counts


@given(counts=COUNTS)
def test_a_large_temperature_is_uniform(counts: dict[str, int]) -> None:
    for weights in ("temperature=1e15", "uniform"):
        wanted = mixture(counts, weights).values()
        assert sum(wanted) == sum(counts.values())
        assert max(wanted) - min(wanted) <= 1


@given(counts=COUNTS, temperature=st.floats(1, 100))
def test_a_temperature_keeps_the_size_of_the_epoch_and_the_order_of_the_tasks(
    counts: dict[str, int], temperature: float
) -> None:
    wanted = mixture(counts, f"temperature={temperature}")
    assert sum(wanted.values()) == sum(counts.values())
    by_count = sorted(counts, key=lambda task: counts[task])
    assert all(wanted[one] <= wanted[other] + 1 for one, other in pairwise(by_count))
    assert wanted[by_count[0]] >= counts[by_count[0]] - 1, "the smallest task does not lose rows"


def test_a_temperature_takes_the_root_of_the_counts() -> None:
    assert mixture({"a": 900, "b": 100}, "temperature=2") == {"a": 750, "b": 250}


def test_weights_multiply_the_rows_of_the_tasks_that_they_name() -> None:
    counts = {"also_buy": 30, "review_rating": 10, "answer_generation": 7}
    assert mixture(counts, "also_buy=2") == counts | {"also_buy": 60}
    assert mixture(counts, " also_buy = 0.5 , review_rating=0") == counts | {"also_buy": 15, "review_rating": 0}
    assert mixture(counts, "review_rating=1.25")["review_rating"] == 12


@pytest.mark.parametrize(
    "weights", ["also_buy", "even", "also_buy=", "also_buy=much", "also_buy=-1", "also_buy=nan", "also_buy=inf", "", "a=1,a=2"]
)
def test_what_is_no_mixture_is_refused_with_those_there_are(weights: str) -> None:
    assert refusal(weights) == (
        "--task_weights takes proportional, uniform, temperature=2 or task=weight,task=weight with weights of 0 or more, "
        f"not {weights!r}"
    )


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (
            "temperature=0.5",
            "--task_weights temperature=T needs a T of 1 or more; 1 is proportional, a large T is uniform",
        ),
        ("chess=1,also_buy=2", "--task_weights names chess; the rows have the tasks also_buy, review_rating"),
        ("temperature=2,also_buy=2", "--task_weights names temperature; the rows have the tasks also_buy, review_rating"),
        ("also_buy=0,review_rating=0", "--task_weights leaves no row to train on; give some task a larger weight"),
        ("also_buy=0.01,review_rating=0.01", "--task_weights leaves no row to train on; give some task a larger weight"),
    ],
)
def test_a_mixture_that_cannot_be_had_is_refused(weights: str, sentence: str) -> None:
    assert refusal(weights) == sentence


# Which rows


@settings(deadline=None)  # the first example waits for imports
@given(counts=FEW, data=st.data(), seed=st.integers(0, 5), order=st.integers(0, 5))
def test_taken_are_exactly_the_wanted_numbers_and_the_same_rows_in_any_order(
    counts: dict[str, int], data: st.DataObject, seed: int, order: int
) -> None:
    wanted = {task: data.draw(st.integers(0, 3 * count)) for task, count in counts.items()}
    taken = take(dataset(rows_of(counts)), wanted, seed)
    assert Counter(taken["task"][:]) == Counter({task: number for task, number in wanted.items() if number})
    times = Counter(taken["sample_id"][:])
    for task, count in counts.items():
        passes = {times[f"{task}-{number}"] for number in range(count)}
        assert max(passes) - min(passes) <= 1, "no row comes twice before every other has come once"
    assert times == Counter(take(dataset(rows_of(counts, order)), wanted, seed)["sample_id"][:])


def test_taken_rows_stay_in_the_order_that_they_had_and_follow_the_seed() -> None:
    rows = rows_of({"a": 40, "b": 10})
    place = {row["sample_id"]: index for index, row in enumerate(rows)}
    taken = {seed: take(dataset(rows), {"a": 15, "b": 25}, seed)["sample_id"][:] for seed in (0, 1)}
    assert all(ids == sorted(ids, key=place.__getitem__) for ids in taken.values())
    assert taken[0] != taken[1]


def test_all_rows_once_are_the_rows_themselves() -> None:
    rows = dataset([{"task": "a"}, {"task": "a"}])
    assert take(rows, {"a": 2}, seed=0) is rows


def test_rows_without_a_task_column_are_one_task() -> None:
    rows = dataset([{"prompt": str(number)} for number in range(10)])
    counts = task_counts(rows)
    assert counts == {"(no task column)": 10}
    assert len(take(rows, mixture(counts, "uniform"), seed=0)) == 10
    assert len(cap_tasks(rows, 3, seed=0)) == 3


def test_a_cap_on_rows_per_task_keeps_the_same_rows_in_any_order() -> None:
    rows = [make_row(task, number) for task in ("also_buy", "review_rating") for number in range(20)]
    rows = rows[:23]  # three rows of the second task
    capped = cap_tasks(dataset(rows), 5, seed=0)
    assert task_counts(capped) == {"also_buy": 5, "review_rating": 3}
    assert capped["sample_id"][:] == sorted(capped["sample_id"], key=[row["sample_id"] for row in rows].index)
    assert set(capped["sample_id"]) == set(cap_tasks(dataset(rows[::-1]), 5, seed=0)["sample_id"])
    assert set(capped["sample_id"]) != set(cap_tasks(dataset(rows), 5, seed=1)["sample_id"])
    assert len(cap_tasks(dataset(rows), 0, seed=0)) == 23


def test_selected_are_the_rows_of_the_tasks_in_the_order_that_they_had() -> None:
    rows = dataset(rows_of({"a": 5, "b": 5, "c": 5}))
    assert set(select_tasks(rows, ["a", "c"])["task"]) == {"a", "c"}
    assert select_tasks(rows, ["a"])["sample_id"][:] == [name for name in rows["sample_id"] if name.startswith("a")]


def test_a_task_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"^the dataset has no task chess, go; it has a, b$"):
        select_tasks(dataset(rows_of({"b": 1, "a": 1})), ["go", "chess", "a"])
    with pytest.raises(UserError, match=r"^--tasks needs a dataset with a column task$"):
        select_tasks(dataset([{"prompt": "a"}]), ["a"])


# Validation


@pytest.mark.parametrize("samples", [1, 2, 7, 24, 1000])
def test_a_group_is_on_one_side_of_the_validation_split(samples: int) -> None:
    rows = dataset([{"group": f"g{index % 9}", "row": index} for index in range(40)])
    train, validation = split_validation(rows, samples, seed=3)
    held = validation["row"][:] if validation else []
    assert sorted(train["row"][:] + held) == list(range(40))
    assert len(held) <= min(samples, 8), "a fifth of the rows at most"
    assert not {row % 9 for row in train["row"]} & {row % 9 for row in held}
    assert bool(held) == (samples >= 4), "the smallest group has four rows"


@settings(deadline=None)
@given(
    groups=st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=60),
    samples=st.integers(0, 80),
    seed=st.integers(0, 3),
)
def test_validation_takes_whole_groups_and_no_more_than_asked_for(groups: list[str], samples: int, seed: int) -> None:
    rows = dataset([{"group": group, "row": index} for index, group in enumerate(groups)])
    train, validation = split_validation(rows, samples, seed)
    held = validation["row"][:] if validation else []
    assert sorted(train["row"][:] + held) == list(range(len(groups)))
    assert not set(train["group"]) & {groups[row] for row in held}
    assert len(held) <= min(samples, 0.2 * len(groups))
    free = min(samples, int(0.2 * len(groups))) - len(held)
    assert all(count > free for count in Counter(train["group"]).values()), "no group that would still go in is left out"


def test_the_validation_split_follows_the_seed_and_not_the_order_of_rows() -> None:
    groups = [{"group": f"g{index}"} for index in range(50)]

    def held(rows: list[dict[str, str]], seed: int) -> set[str]:
        validation = split_validation(dataset(rows), 10, seed)[1]
        assert validation is not None
        return set(validation["group"])

    assert held(groups, 1) == held(groups[::-1], 1)
    assert held(groups, 1) != held(groups, 2)


def test_rows_without_groups_are_held_out_one_by_one() -> None:
    train, validation = split_validation(dataset([{"row": row} for row in range(50)]), 7, seed=0)
    assert validation is not None
    assert sorted(train["row"][:] + validation["row"][:]) == list(range(50))
    assert len(validation) == 7


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("0", 0),
        (32, 32),
        ("500", 500),
        ("10k", 10_000),
        ("10K", 10_000),
        (" 1.5k ", 1_500),
        ("2m", 2_000_000),
        ("10,000", 10_000),
        ("10_000", 10_000),
    ],
)
def test_a_number_of_rows_may_be_written_short(text: str | int, rows: int) -> None:
    assert parse_count(text) == rows


@pytest.mark.parametrize("text", ["", "ten", "10kk", "-5", "5%", "1e3", "k", "0x10", "nan"])
def test_what_is_no_number_of_rows_is_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_count(text)
    assert str(refused.value) == f"--validation_samples takes a number of rows such as 500 or 10k, not {text!r}"


# Loading


def test_loaded_are_the_rows_of_the_split_and_of_the_tasks(shop_rows: Path) -> None:
    everything = load_rows(str(shop_rows), None, "train", None, None)
    assert task_counts(everything) == dict.fromkeys(sorted(COMPLETIONS), ROWS)
    assert task_counts(load_rows(str(shop_rows), "also_buy", "test", None, None)) == {"also_buy": 2}
    some = load_rows(str(shop_rows), None, "train", None, " review_rating, also_buy,")
    assert task_counts(some) == {"also_buy": ROWS, "review_rating": ROWS}


def write(path: Path, text: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path.parent)


ROW = json.dumps({"prompt": "a", "completion": "b"}) + "\n"


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        (
            "rows.jsonl",
            '{"text": "a"}\n',
            "the dataset {place} has no column completion or prompt; its rows must have prompt and completion",
        ),
        (
            "rows.jsonl",
            '{"prompt": "a"}\n',
            "the dataset {place} has no column completion; its rows must have prompt and completion",
        ),
        ("train.parquet", "PAR1", "--dataset_name {place} cannot be loaded: Parquet file size is 4 bytes"),
        ("rows.jsonl", '{"prompt": ', "--dataset_name {place} cannot be loaded: "),
        ("notes.unknown", "nothing", "--dataset_name {place} cannot be loaded: "),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_sentence(file: str, text: str, sentence: str, tmp_path: Path) -> None:
    place = write(tmp_path / "rows" / file, text)
    with pytest.raises(UserError) as refused:
        load_rows(place, None, "train", None, None)
    said = str(refused.value)
    assert said.startswith(sentence.format(place=place))
    assert said.endswith(
        (
            "; check the name, the config and the split, or run: hf auth login",
            "; its rows must have prompt and completion (strings or lists of turns), or messages",
        )
    )
    assert "\n" not in said


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "none"
    with pytest.raises(UserError) as refused:
        load_rows(str(place), None, "train", None, None)
    assert (
        str(refused.value)
        == f"--dataset_name {place} is no file or folder here, and no Hub id such as org/name; check the path"
    )


def test_no_rows_are_refused(shop_rows: Path) -> None:
    with pytest.raises(UserError) as refused:
        load_rows(str(shop_rows), None, "train", None, " , ")
    assert str(refused.value) == f"the dataset {shop_rows} has no rows to train on; check --tasks and --dataset_config"


# What a run says of its rows


def test_the_content_key_changes_with_the_rows_and_their_order_and_with_nothing_else() -> None:
    rows = [make_row("also_buy", number) for number in range(3)]
    key = content_key(dataset(rows))
    assert key == content_key(dataset([row | {"source": "elsewhere"} for row in rows]))
    others = ([*rows[::-1]], rows[:2], [*rows, rows[0]], [rows[0] | {"completion": []}, *rows[1:]])
    assert len({key, *(content_key(dataset(other)) for other in others)}) == 5


def test_the_fingerprint_is_the_one_of_the_config_or_none(shop_rows: Path, tmp_path: Path) -> None:
    configs = json.loads((shop_rows / "manifest.json").read_text())["configs"]
    for config, name in ((None, "default"), ("also_buy", "also_buy")):
        assert dataset_fingerprint(str(shop_rows), config, None) == configs[name]["fingerprint"]
    assert dataset_fingerprint(str(shop_rows), "chess", None) is None
    assert dataset_fingerprint(str(tmp_path), None, None) is None
    (tmp_path / "manifest.json").write_text("[]")
    assert dataset_fingerprint(str(tmp_path), None, None) is None


def test_the_composition_says_what_an_epoch_is_made_of(capsys: pytest.CaptureFixture[str]) -> None:
    train = dataset(rows_of({"also_buy": 30, "review_rating": 10}))
    print_composition(train, {"also_buy": 20, "chess": 5, "review_rating": 10}, held_out=1234)
    table = [line.strip("│ ").split() for line in capsys.readouterr().out.splitlines() if "│" in line]
    cells = [[word for word in line if word != "│"] for line in table]
    assert ["also_buy", "30", "75.0%", "1.50"] in cells
    assert ["chess", "0", "0.0%", "0.00"] in cells
    assert ["all", "40", "1.14"] in cells
    assert ["held", "out", "for", "validation", "1,234"] in cells
