"""The loopback Hub's Collections, with the shapes and status codes that huggingface_hub's client reads.

https://huggingface.co/docs/huggingface_hub/guides/collections; a title names one collection of a namespace, as the client's
`exists_ok` has it, and a new position moves an item there, the others closing up.
"""

import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from tests.loopback_repos import HubError, now

if TYPE_CHECKING:
    from tests.loopback_hub import LoopbackHub

LONGEST = {"title": 60, "description": 150, "note": 500}
LISTED_ITEMS = 4
"""A list of collections has no more items of each."""


@dataclass
class StoredItem:
    id: str
    type: str
    """model, dataset or space"""
    note: str | None = None
    object_id: str = field(default_factory=lambda: secrets.token_hex(12))


@dataclass
class StoredCollection:
    title: str
    namespace: str
    private: bool
    description: str | None = None
    theme: str = "orange"
    position: int = 0
    items: list[StoredItem] = field(default_factory=list)
    updated: str = field(default_factory=now)
    object_id: str = field(default_factory=lambda: secrets.token_hex(12))

    @property
    def slug(self) -> str:
        words = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")
        return f"{self.namespace}/{words}-{self.object_id}"

    def item(self, object_id: str) -> StoredItem:
        if found := next((item for item in self.items if item.object_id == object_id), None):
            return found
        raise HubError(404, "Item not found")


def described(hub: "LoopbackHub", collection: StoredCollection, user: str | None, most: int | None = None) -> dict[str, Any]:
    """As the API gives it to this user: without items that are no longer there, or not for them to see."""
    visible = [item for item in collection.items if hub.can_see(user, item.type, item.id)]
    items = [
        {
            "_id": item.object_id,
            "id": item.id,
            "type": item.type,
            "repoType": item.type,
            "author": item.id.split("/")[0],
            "position": position,
            **({"note": {"html": f"<p>{item.note}</p>", "text": item.note}} if item.note else {}),
        }
        for position, item in enumerate(visible)
    ]
    return {
        "slug": collection.slug,
        "title": collection.title,
        "description": collection.description,
        "owner": {"name": collection.namespace, "type": "org" if collection.namespace in hub.organisations else "user"},
        "private": collection.private,
        "theme": collection.theme,
        "position": collection.position,
        "upvotes": 0,
        "lastUpdated": collection.updated,
        "items": items[:most],
    }


def find(hub: "LoopbackHub", request: Request, slug: str, write: bool = False) -> StoredCollection:
    """By the id at the slug's end, as the words before it change with the title."""
    user = hub.user(request)
    namespace, _, rest = slug.partition("/")
    object_id = rest.rpartition("-")[2]
    found = next((one for one in hub.collections if (one.namespace, one.object_id) == (namespace, object_id)), None)
    if found is None or (found.private and not hub.is_member(user, namespace)):
        raise HubError(404, "Collection not found")
    if write:
        hub.writer(request, namespace)
        found.updated = now()
    return found


def check_lengths(body: dict[str, Any]) -> None:
    for name, most in LONGEST.items():
        if len(body.get(name) or "") > most:
            raise HubError(400, f'"{name}" must be at most {most} characters')


async def listing(hub: "LoopbackHub", request: Request) -> Any:
    user, query = hub.user(request), request.query_params
    found = [
        described(hub, one, user, LISTED_ITEMS)
        for one in hub.collections
        if (not one.private or hub.is_member(user, one.namespace))
        and one.namespace in (query.getlist("owner") or [one.namespace])
        and set(query.getlist("item")) <= {f"{item.type}s/{item.id}" for item in one.items}
    ]
    # Where one stands in the list is its position: the client refuses a second one.
    return [{name: value for name, value in one.items() if name != "position"} for one in found]


async def create(hub: "LoopbackHub", request: Request) -> Any:
    body = await request.json()
    check_lengths(body)
    namespace, title = body["namespace"], body.get("title", "").strip()
    user = hub.writer(request, namespace)
    if not title:
        raise HubError(400, '"title" is required')
    if found := next((one for one in hub.collections if (one.namespace, one.title) == (namespace, title)), None):
        raise HubError(409, "You already have a collection with this title", slug=found.slug)
    made = StoredCollection(title, namespace, bool(body.get("private")), body.get("description"))
    hub.collections.append(made)
    return described(hub, made, user)


async def get(hub: "LoopbackHub", request: Request, slug: str) -> Any:
    return described(hub, find(hub, request, slug), hub.user(request))


async def update(hub: "LoopbackHub", request: Request, slug: str) -> Any:
    body = await request.json()
    check_lengths(body)
    collection = find(hub, request, slug, write=True)
    for name in {"title", "description", "private", "theme", "position"} & body.keys():
        setattr(collection, name, body[name])
    return {"success": True, "data": described(hub, collection, hub.user(request))}


async def delete(hub: "LoopbackHub", request: Request, slug: str) -> Any:
    hub.collections.remove(find(hub, request, slug, write=True))
    return {"success": True}


async def add_item(hub: "LoopbackHub", request: Request, slug: str) -> Any:
    body = await request.json()
    check_lengths(body)
    collection, user, item = find(hub, request, slug, write=True), hub.user(request), body["item"]
    if item["type"] not in ("model", "dataset", "space") or not hub.can_see(user, item["type"], item["id"]):
        raise HubError(404, f"There is no {item['type']} {item['id']}")
    if any((one.id, one.type) == (item["id"], item["type"]) for one in collection.items):
        raise HubError(409, f"{item['id']} is in this collection already")
    collection.items.append(StoredItem(item["id"], item["type"], body.get("note")))
    return described(hub, collection, user)


async def update_item(hub: "LoopbackHub", request: Request, slug: str, object_id: str) -> Any:
    body = await request.json()
    check_lengths(body)
    collection = find(hub, request, slug, write=True)
    item = collection.item(object_id)
    item.note = body.get("note", item.note)
    if "position" in body:
        collection.items.remove(item)
        collection.items.insert(body["position"], item)
    return {"success": True}


async def delete_item(hub: "LoopbackHub", request: Request, slug: str, object_id: str) -> Any:
    collection = find(hub, request, slug, write=True)
    collection.items.remove(collection.item(object_id))
    return {"success": True}


_SLUG = "/api/collections/([^/]+/[^/]+)"
ROUTES = (
    ("GET", "/api/collections", listing),
    ("POST", "/api/collections", create),
    ("GET", _SLUG, get),
    ("PATCH", _SLUG, update),
    ("DELETE", _SLUG, delete),
    ("POST", f"{_SLUG}/items", add_item),
    ("PATCH", f"{_SLUG}/items/([0-9a-f]+)", update_item),
    ("DELETE", f"{_SLUG}/items/([0-9a-f]+)", delete_item),
)
