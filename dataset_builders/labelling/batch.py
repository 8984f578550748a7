"""Files for providers' batch APIs, in OpenAI's format, which vLLM's `run-batch` reads too.

https://platform.openai.com/docs/guides/batch

A line of the input is a request, a line of an output or error file its reply; both have its `custom_id`. That is the request's
key, with the suffix SECOND for the second request of a structured answer.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.chat import Completion, Endpoint, RequestRefused, TransientError, read_completion, read_error
from common.errors import UserError
from common.files import replaced
from dataset_builders.labelling.reply_store import ReplyStore
from dataset_builders.labelling.requests import NO_JSON, LabelReply, LabelRequest, second_body, to_reply

MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
"""Of one file: https://platform.openai.com/docs/api-reference/batch/create"""

NAME = "batch-{:04}.jsonl"
SECOND = "-again"
URL = "/v1/chat/completions"

REPLIES_PER_WRITE = 1000


@dataclass
class BatchCounts:
    """Lines of output and error files.

    `answered` and `rejected` (by kind) are kept as replies. `skipped`, by reason, are not; their requests are in the next
    batch, unless another line answers them.
    """

    answered: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, reply: LabelReply) -> None:
        if reply.reason:
            self.rejected[reply.kind] += 1
        else:
            self.answered += 1


def write_batch(requests: Iterable[LabelRequest], model: str, store: ReplyStore, folder: Path) -> list[Path]:
    """Writes batch files of the requests without a reply in `store` to a folder of their own, which is replaced.

    Returns their paths, [] where nothing is missing. Raises UserError where the folder cannot be written or has other content.
    """
    with replaced(folder, NAME.format(1)) as new:
        names: list[str] = []
        lines, size, file = 0, 0, None
        try:
            for request in store.missing(requests, model):
                line = json.dumps(_line(request, model, store), separators=(",", ":")).encode() + b"\n"
                if file is None or lines == MAX_REQUESTS or size + len(line) > MAX_BYTES:
                    if file:
                        file.close()
                    names.append(NAME.format(len(names) + 1))
                    lines, size, file = 0, 0, (new / names[-1]).open("wb")
                file.write(line)
                lines, size = lines + 1, size + len(line)
        finally:
            if file:
                file.close()
    return [folder / name for name in names]


def _line(request: LabelRequest, model: str, store: ReplyStore) -> dict[str, Any]:
    key, body = request.key(model), request.body(model)
    if first := store.first_try(key):
        return {"custom_id": key + SECOND, "method": "POST", "url": URL, "body": second_body(body, *first)}
    return {"custom_id": key, "method": "POST", "url": URL, "body": body}


class _Skipped(Exception):
    """Why a line is no reply."""


def read_batch(paths: Sequence[Path], model: str, store: ReplyStore, requests: Iterable[LabelRequest]) -> BatchCounts:
    """Reads the replies to `requests` from output and error files, in any order; a reply that is in `store` stays.

    A request that the server calls bad is rejected where others were answered, else skipped: then all of them are bad.
    Raises UserError where a file cannot be read.
    """
    # Bytes, and one text for each schema, so that a request takes an eighth of a kilobyte.
    schemas = {bytes.fromhex(request.key(model)): request.schema for request in requests}
    counts = BatchCounts()
    new: dict[str, LabelReply] = {}
    refused: dict[str, LabelReply] = {}

    def keep(replies: dict[str, LabelReply]) -> None:
        store.put(replies)
        for reply in replies.values():
            counts.add(reply)
        replies.clear()

    for line in _lines(paths):
        try:
            reply, key, schema = _parsed(line, schemas)
            if key in new or ((kept := store.get(key)) and not kept.unanswered):
                raise _Skipped("answered before")
            new[key] = _reply(reply, key, schema, model, store)
        except _Skipped as skipped:
            counts.skipped[str(skipped)] += 1
        except RequestRefused as refusal:
            refused[key] = LabelReply("", f"refused: {refusal}")
        if len(new) >= REPLIES_PER_WRITE:
            keep(new)
    keep(new)
    refused = {key: reply for key, reply in refused.items() if not store.get(key)}
    if counts.answered:
        keep(refused)
    counts.skipped.update(reply.reason for reply in refused.values())
    return counts


def _lines(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        try:
            with path.open("rb") as file:
                yield from (line for line in file if line.strip())
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); give a batch's output and error files") from None


def _parsed(line: bytes, schemas: Mapping[bytes, str]) -> tuple[dict[str, Any], str, str]:
    """A line's object, and the key and schema of its request. Raises _Skipped."""
    try:
        reply: dict[str, Any] = json.loads(line)
        key = reply["custom_id"].removesuffix(SECOND)
        schema = schemas.get(bytes.fromhex(key))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _Skipped("not a line of a batch's output") from None
    if schema is None:
        raise _Skipped("the reply to no request of this run")
    return reply, key, schema


def _reply(line: Mapping[str, Any], key: str, schema: str, model: str, store: ReplyStore) -> LabelReply:
    """Raises _Skipped and RequestRefused."""
    first = store.first_try(key)
    if first and line["custom_id"] == key:
        raise _Skipped("a first reply that was read before")
    completion = _completion(line, model)
    reply = to_reply(completion, schema)
    if reply.fault and not first:
        store.put_first_try(key, completion.text, reply.fault)
        raise _Skipped(f"{NO_JSON}, for a second request")
    return reply


def _completion(line: Mapping[str, Any], model: str) -> Completion:
    """Raises _Skipped and RequestRefused."""
    response, error = line.get("response"), line.get("error")
    if not isinstance(response, dict):  # expired, cancelled
        code = error.get("code") if isinstance(error, dict) else error
        raise _Skipped(f"no reply: {code}")
    status, body = response.get("status_code"), response.get("body")
    endpoint = Endpoint("the batch", model)
    try:
        if status == 200 and not error:
            return read_completion(endpoint, body)
        fault = body or error  # vLLM has an error beside the response
        fault = fault.get("error", fault) if isinstance(fault, dict) else fault
        return read_error(endpoint, status if isinstance(status, int) else 500, fault, {})
    except TransientError:
        raise _Skipped(f"no completion, status {status}") from None
    except UserError as failure:
        raise _Skipped(str(failure)) from None
