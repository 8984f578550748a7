"""A Collection of repositories on the Hub: created once, found again by its title, updated where it differs.

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
class CollectionEntry:
    """A repository and its note in the collection, one line."""

    repo_id: str
    repo_type: RepoType
    note: str

    @property
    def key(self) -> tuple[str, str]:
        return self.repo_type, self.repo_id


@dataclass(frozen=True)
class CollectionResult:
    """`url` is the collection's page, `changed` False if nothing differed."""

    url: str
    changed: bool


def update_collection(
    namespace: str, title: str, description: str, entries: Sequence[CollectionEntry], private: bool = False
) -> CollectionResult:
    """Creates or updates the collection of this title: the entries, with their notes, in their order.

    What others added stays. Raises UserError with what to do, also where it is public and should be private.
    """
    changes: list[str] = []
    with hub_errors(f"{namespace}/{title}"):
        api = signed_in()
        # Each attempt does only what is missing.
        slug = retried(lambda: _find_or_make(api, namespace, title, description, private, changes))
        retried(lambda: _add_entries(api, slug, entries, changes))
        retried(lambda: _reorder(api, slug, entries, changes))
        return CollectionResult(api.get_collection(slug).url, changed=bool(changes))


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


def _add_entries(api: "HfApi", slug: str, entries: Sequence[CollectionEntry], changes: list[str]) -> None:
    present = {_key(item): item for item in api.get_collection(slug).items}  # a list has the first few of them only
    for entry in entries:
        there = present.get(entry.key)
        if there is None:
            api.add_collection_item(slug, entry.repo_id, entry.repo_type, note=entry.note, exists_ok=True)
            changes.append(f"added {entry.repo_id}")
        elif " ".join((there.note or "").split()) != entry.note:
            api.update_collection_item(slug, there.item_object_id, note=entry.note)
            changes.append(f"noted {entry.repo_id}")


def _reorder(api: "HfApi", slug: str, entries: Sequence[CollectionEntry], changes: list[str]) -> None:
    """Moves the entries among their own positions until they are in order."""
    ours = _ours(api.get_collection(slug), entries)
    places = [item.position for item in ours]
    wanted = [entry.key for entry in entries if entry.key in map(_key, ours)]
    if [_key(item) for item in ours] == wanted:
        return
    for place, key in zip(places, wanted, strict=True):
        # Read again each time: moving one shifts others.
        item = next(item for item in _ours(api.get_collection(slug), entries) if _key(item) == key)
        if item.position != place:
            api.update_collection_item(slug, item.item_object_id, position=place)
            changes.append(f"moved {item.item_id}")


def _ours(collection: "Collection", entries: Sequence[CollectionEntry]) -> "list[CollectionItem]":
    """The items of the collection that are among the entries, by position."""
    keys = {entry.key for entry in entries}
    return sorted((item for item in collection.items if _key(item) in keys), key=lambda item: item.position)


def _key(item: "CollectionItem") -> tuple[str, str]:
    return item.item_type, item.item_id
