"""Collections on the loopback Hub: made once, put right where they differ, and left alone where they do not."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub import Hub

ROOT = Path(__file__).parents[2]
SERVER = """
import json, os, sys
from huggingface_hub import HfApi
from common.collection import CollectionEntry, update_collection
from common.errors import UserError
for line in sys.stdin:
    try:
        print(json.dumps(repr(eval(line))), flush=True)
    except UserError as error:
        print(json.dumps("error: " + str(error)), flush=True)
"""


class Client:
    """A process of a user of the Hub, which evaluates what it is told."""

    def __init__(self, env: dict[str, str]) -> None:
        command = [sys.executable, "-c", SERVER]
        self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, code: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(code + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"{code} ended the process"
        return str(json.loads(line))

    def update(
        self, title: str, *names: str, note: str = "one of them", about: str = "All of it.", private: bool = False
    ) -> str:
        items = [
            f'CollectionEntry("org/{name.lower()}", "{"model" if name.islower() else "dataset"}", "{note}")' for name in names
        ]
        return self(f'update_collection("org", "{title}", "{about}", [{", ".join(items)}], private={private})')


@pytest.fixture(scope="module")
def alice(hub: Hub) -> Iterator[Client]:
    client = Client(hub.env())
    for name in ("one", "two", "three", "four", "five", "six"):
        client(f'HfApi().create_repo("org/col-{name}")')
    client('HfApi().create_repo("org/col-one", repo_type="dataset")')
    yield client
    client.process.terminate()
    client.process.wait(timeout=10)


def named(hub: Hub, title: str) -> dict[str, Any]:
    (found,) = [one for one in hub.collections("org") if one["title"] == title]
    return found


def ids(hub: Hub, title: str) -> list[str]:
    return [item["id"].removeprefix("org/col-") for item in named(hub, title)["items"]]


SIX = ("col-one", "col-two", "col-three", "col-four", "col-five", "col-six")


def test_a_collection_holds_its_items_with_notes_in_their_order_and_a_second_time_nothing_is_written(
    hub: Hub, alice: Client
) -> None:
    told = alice.update("Six", *SIX)
    assert ids(hub, "Six") == ["one", "two", "three", "four", "five", "six"]  # more than a list of collections shows
    found = named(hub, "Six")
    assert {item["note"]["text"] for item in found["items"]} == {"one of them"}
    assert (found["description"], found["private"], found["owner"]["name"]) == ("All of it.", False, "org")
    assert told == repr_of(hub, found, changed=True)
    before = len(hub.requests)
    assert alice.update("Six", *SIX) == repr_of(hub, found, changed=False)
    assert {method for method, _, _ in hub.requests[before:]} == {"GET"}
    assert named(hub, "Six") == found


def repr_of(hub: Hub, collection: dict[str, Any], changed: bool) -> str:
    return f"CollectionResult(url='{hub.endpoint}/collections/{collection['slug']}', changed={changed})"


def test_a_model_and_a_dataset_of_one_name_are_two_items(hub: Hub, alice: Client) -> None:
    for _ in range(2):
        alice.update("Namesakes", "col-one", "COL-ONE")
    assert [(item["id"], item["type"]) for item in named(hub, "Namesakes")["items"]] == [
        ("org/col-one", "model"),
        ("org/col-one", "dataset"),
    ]


def test_what_is_missing_comes_back_to_its_place_and_what_others_put_there_stays(hub: Hub, alice: Client) -> None:
    alice.update("Mended", *SIX[:4])
    found = named(hub, "Mended")
    slug, first = found["slug"], found["items"][0]["_id"]
    alice(f'HfApi().delete_collection_item("{slug}", "{first}")')
    alice(f'HfApi().add_collection_item("{slug}", "org/col-six", "model", note="mine")')
    assert "changed=True" in alice.update("Mended", *SIX[:4])
    there = [item for item in ids(hub, "Mended") if item != "six"]
    assert there == ["one", "two", "three", "four"]
    assert next(item["note"]["text"] for item in named(hub, "Mended")["items"] if item["id"] == "org/col-six") == "mine"
    assert "changed=False" in alice.update("Mended", *SIX[:4])


@pytest.mark.parametrize("start", ["two,one,three", "three,two,one", "three,one,two", "two,six,one,three", "six,three,one,two"])
def test_another_order_is_put_right(hub: Hub, alice: Client, start: str) -> None:
    title = f"Order {start}"
    alice.update(title, *(f"col-{name}" for name in start.split(",")))
    assert ids(hub, title) == start.split(",")
    alice.update(title, *SIX[:3])
    assert [name for name in ids(hub, title) if name != "six"] == ["one", "two", "three"]


def test_notes_and_description_follow_what_is_said_of_them(hub: Hub, alice: Client) -> None:
    alice.update("Said", *SIX[:2])
    assert "changed=True" in alice.update("Said", *SIX[:2], note="another", about="Some of it.")
    found = named(hub, "Said")
    assert [item["note"]["text"] for item in found["items"]] == ["another", "another"]
    assert found["description"] == "Some of it."


def test_a_collection_that_the_list_does_not_show_is_found_by_its_title_all_the_same(hub: Hub, alice: Client) -> None:
    alice.update("Hidden", *SIX[:2])
    with hub.fail("GET /api/collections$", 200, body="[]"):
        assert "changed=False" in alice.update("Hidden", *SIX[:2])
    assert len([one for one in hub.collections("org") if one["title"] == "Hidden"]) == 1


def test_a_private_one_is_seen_by_members_only_and_a_public_one_is_not_made_private(hub: Hub, alice: Client) -> None:
    alice.update("Secret", *SIX[:1], private=True)
    assert named(hub, "Secret")["private"]
    assert "Secret" not in [one["title"] for one in hub.collections("org", user=None)]
    alice.update("Open", *SIX[:1])
    told = alice.update("Open", *SIX[:1], private=True)
    assert told.startswith("error: ")
    assert told.endswith("is public; make it private on its page, or publish without --private")


@pytest.mark.parametrize("pattern", ["POST /api/collections$", "POST .*/items$", "GET /api/collections/org"])
def test_a_hub_that_fails_for_a_moment_is_asked_again(hub: Hub, alice: Client, pattern: str) -> None:
    title = f"Again {pattern[:4]} {len(pattern)}"
    with hub.fail(pattern, 503, times=1, retry_after=0) as fault:
        assert "changed=True" in alice.update(title, *SIX[:3])
    assert fault.hits == 1
    assert ids(hub, title) == ["one", "two", "three"]


def test_an_item_that_is_not_on_the_hub_is_told(alice: Client) -> None:
    assert alice.update("Broken", "col-nowhere").startswith("error: org/Broken is not on http")
