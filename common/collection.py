"""Gathers repositories in a Collection of the Hub: made once, found again by its title, put right where it differs.

https://huggingface.co/docs/huggingface_hub/guides/collections
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import UserError
from common.hub import RepoType, hub_errors, retried, signed_in

if TYPE_CHECKING:
    from huggingface_hub import Collection, CollectionItem, HfApi

LONGEST_TITLE = 60
"""Characters that the Hub takes; of a description 150, of a note 500."""


@dataclass(frozen=True)
class Item:
    """A repository and what the collection says of it, in one line."""

    repo_id: str
    repo_type: RepoType
    note: str

    @property
    def key(self) -> tuple[str, str]:
        return self.repo_type, self.repo_id


@dataclass(frozen=True)
class Gathered:
    """`url` is the collection's page, `changed` False if nothing was to do."""

    url: str
    changed: bool


def gather(namespace: str, title: str, description: str, items: Sequence[Item], private: bool = False) -> Gathered:
    """Makes the collection of this title hold the items, with their notes and in their order.

    What others put into it stays. Raises UserError with what to do, also where it is to be private and is public.
    """
    changes: list[str] = []
    with hub_errors(f"{namespace}/{title}"):
        api = signed_in()
        # A try does what is missing, so a second one goes on behind the first.
        slug = retried(lambda: _find_or_make(api, namespace, title, description, private, changes))
        retried(lambda: _fill(api, slug, items, changes))
        retried(lambda: _put_in_order(api, slug, items, changes))
        return Gathered(api.get_collection(slug).url, changed=bool(changes))


def _find_or_make(api: "HfApi", namespace: str, title: str, description: str, private: bool, changes: list[str]) -> str:
    """The collection's slug."""
    found = next((one for one in api.list_collections(owner=namespace) if one.title == title), None)
    if found is None:
        # exists_ok: it may be there although the list does not show it; then it is not empty.
        found = api.create_collection(title, namespace=namespace, description=description, private=private, exists_ok=True)
        if not found.items:
            changes.append("made")
    if private and not found.private:
        raise UserError(f"{found.url} is public; make it private on its page, or publish without --private")
    if found.description != description:
        api.update_collection_metadata(found.slug, description=description)
        changes.append("described")
    return found.slug


def _fill(api: "HfApi", slug: str, items: Sequence[Item], changes: list[str]) -> None:
    present = {_key(item): item for item in api.get_collection(slug).items}  # a list has the first few of them only
    for item in items:
        there = present.get(item.key)
        if there is None:
            api.add_collection_item(slug, item.repo_id, item.repo_type, note=item.note, exists_ok=True)
            changes.append(f"added {item.repo_id}")
        elif " ".join((there.note or "").split()) != item.note:
            api.update_collection_item(slug, there.item_object_id, note=item.note)
            changes.append(f"noted {item.repo_id}")


def _put_in_order(api: "HfApi", slug: str, items: Sequence[Item], changes: list[str]) -> None:
    """Where the items stand in another order, they change places among themselves."""
    ours = _ours(api.get_collection(slug), items)
    places = [item.position for item in ours]
    wanted = [item.key for item in items if item.key in map(_key, ours)]
    if [_key(item) for item in ours] == wanted:
        return
    for place, key in zip(places, wanted, strict=True):
        # Read anew each time, since one that moves shifts others.
        item = next(item for item in _ours(api.get_collection(slug), items) if _key(item) == key)
        if item.position != place:
            api.update_collection_item(slug, item.item_object_id, position=place)
            changes.append(f"moved {item.item_id}")


def _ours(collection: "Collection", items: Sequence[Item]) -> "list[CollectionItem]":
    """Those of the items that it holds, as they stand in it."""
    keys = {item.key for item in items}
    return sorted((item for item in collection.items if _key(item) in keys), key=lambda item: item.position)


def _key(item: "CollectionItem") -> tuple[str, str]:
    return item.item_type, item.item_id
