"""Files for providers' batch APIs, in OpenAI's form, which vLLM's `run-batch` takes too.

https://platform.openai.com/docs/guides/batch

A line of the input is a request, a line of an output or error file the reply to one; both name it by `custom_id`. That is the
ask's key, and for the second try of a structured answer the key with AGAIN behind it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.chat import Completion, Endpoint, PassingError, RequestRefused, read_completion, rejected
from common.errors import UserError
from common.files import replaced
from dataset_builders.labelling.reply_store import Replies
from dataset_builders.labelling.requests import Ask, Reply
from dataset_builders.labelling.structured import NO_JSON, asked_again, check, final

MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
"""Of one file, as https://platform.openai.com/docs/api-reference/batch/create says."""

NAME = "batch-{:04}.jsonl"
AGAIN = "-again"
URL = "/v1/chat/completions"

READ_AT_ONCE = 1000
"""Lines whose replies are put on disk together."""


@dataclass
class BatchCounts:
    """What became of the lines of output and error files.

    `answered` and `rejected` (by kind) are kept and not asked again. `skipped`, by reason, are no replies; what they were to
    answer is in the next batch, unless another line answers it.
    """

    answered: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, reply: Reply) -> None:
        if reply.reason:
            self.rejected[reply.kind] += 1
        else:
            self.answered += 1


def write_batch(asks: Iterable[Ask], model: str, store: Replies, folder: Path) -> list[Path]:
    """The batch files of what is missing in `store`, in a folder of their own, which is replaced. [] where nothing is missing.

    Raises UserError where the folder cannot be written, or holds something else.
    """
    with replaced(folder, NAME.format(1)) as new:
        names: list[str] = []
        requests, size, file = 0, 0, None
        try:
            for ask in store.missing(asks, model):
                line = json.dumps(_request(ask, model, store), separators=(",", ":")).encode() + b"\n"
                if file is None or requests == MOST_REQUESTS or size + len(line) > MOST_BYTES:
                    if file:
                        file.close()
                    names.append(NAME.format(len(names) + 1))
                    requests, size, file = 0, 0, (new / names[-1]).open("wb")
                file.write(line)
                requests, size = requests + 1, size + len(line)
        finally:
            if file:
                file.close()
    return [folder / name for name in names]


def _request(ask: Ask, model: str, store: Replies) -> dict[str, Any]:
    key, body = ask.key(model), ask.body(model)
    if wrong := store.first_try(key):
        return {"custom_id": key + AGAIN, "method": "POST", "url": URL, "body": asked_again(body, *wrong)}
    return {"custom_id": key, "method": "POST", "url": URL, "body": body}


class _Skipped(Exception):
    """Why a line is no reply."""


def read_batch(paths: Sequence[Path], model: str, store: Replies, asks: Iterable[Ask]) -> BatchCounts:
    """Takes over output and error files, in any order, that answer some of `asks`; a reply that is kept already stays.

    What the server calls a bad request is rejected where others were answered, and else skipped: then all of them are wrong.
    Raises UserError where a file cannot be read.
    """
    # Bytes, and one text for each schema, so that an ask takes an eighth of a kilobyte.
    schemas = {bytes.fromhex(ask.key(model)): ask.schema for ask in asks}
    counts = BatchCounts()
    new: dict[str, Reply] = {}
    refused: dict[str, Reply] = {}

    def keep(replies: dict[str, Reply]) -> None:
        store.put(replies)
        for reply in replies.values():
            counts.add(reply)
        replies.clear()

    for line in _lines(paths):
        try:
            told, key, schema = _asked(line, schemas)
            if key in new or ((kept := store.get(key)) and not kept.unanswered):
                raise _Skipped("answered already")
            new[key] = _reply(told, key, schema, model, store)
        except _Skipped as skipped:
            counts.skipped[str(skipped)] += 1
        except RequestRefused as refusal:
            refused[key] = Reply("", f"refused: {refusal}")
        if len(new) >= READ_AT_ONCE:
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


def _asked(line: bytes, schemas: Mapping[bytes, str]) -> tuple[dict[str, Any], str, str]:
    """What a line says, and key and schema of what it is about. Raises _Skipped."""
    try:
        told: dict[str, Any] = json.loads(line)
        key = told["custom_id"].removesuffix(AGAIN)
        schema = schemas.get(bytes.fromhex(key))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _Skipped("a torn line, or none of a batch's output") from None
    if schema is None:
        raise _Skipped("answers nothing that is asked")
    return told, key, schema


def _reply(line: Mapping[str, Any], key: str, schema: str, model: str, store: Replies) -> Reply:
    """Raises _Skipped and RequestRefused."""
    first = store.first_try(key)
    if first and line["custom_id"] == key:
        raise _Skipped("a first try that was taken over already")
    completion = _completion(line, model)
    reason, wrong = check(schema, completion)
    if wrong and not first:
        store.put_first_try(key, completion.text, wrong)
        raise _Skipped(f"{NO_JSON}, to be asked once more")
    return final(completion, reason, wrong)


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
        # vLLM tells of an error beside the response.
        told = body or error
        told = told.get("error", told) if isinstance(told, dict) else told
        return rejected(endpoint, status if isinstance(status, int) else 500, told, {})
    except PassingError:
        raise _Skipped(f"no completion, status {status}") from None
    except UserError as failure:
        raise _Skipped(str(failure)) from None
