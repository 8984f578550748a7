"""Sends the requests without a reply to a chat completions server, concurrently, until each has one.

A reply is on disk before its worker takes the next request, so a crash loses no more than the requests in flight. Transient
failures are retried. A request at which the server keeps failing, or that it calls bad, is rejected as soon as a later one is
answered; where several in a row fail, the server is to blame, and the run ends.
"""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from common.chat import (
    Completion,
    Endpoint,
    RequestRefused,
    TransientError,
    complete,
    new_client,
)
from common.errors import UserError
from common.retry import backoff, longest_backoff
from dataset_builders.labelling.costs import rough_tokens
from dataset_builders.labelling.rate_limit import RateLimiter
from dataset_builders.labelling.reply_store import ReplyStore
from dataset_builders.labelling.requests import NO_ANSWER, LabelReply, LabelRequest, ReplyCounts, second_body, to_reply

__all__ = ["Endpoint", "request_all"]

MAX_FAILURES_IN_A_ROW = 5
"""Requests that fail one after another until the server is blamed."""

FIRST_SPACING = 0.002
"""Seconds between the first requests (see RateLimiter)."""

SMOOTHING = 0.05
"""Weight of the latest reply in the moving average of a reply's seconds."""

SYNC_SECONDS = 1.0
"""Between two fsyncs of the replies."""

GRACE_SECONDS = 30.0
"""For the requests in flight after the first SIGINT or SIGTERM."""


def request_all(
    endpoint: Endpoint, requests: Iterable[LabelRequest], store: ReplyStore, progress: Callable[[ReplyCounts], None]
) -> ReplyCounts:
    """Sends what has no reply in `store` and keeps each reply as it comes; `progress` is called whenever some are on disk.

    `requests` may be a generator of any length: one is taken when it can start. Raises UserError for a permanent failure, after
    the replies in flight are kept. SIGINT and SIGTERM do the same, with GRACE_SECONDS for those replies, which a second signal
    cuts short; then SystemExit is raised with the shell's code for the signal.
    """
    run = _LabelRun(endpoint, requests, store, progress)
    asyncio.run(run.run())
    kept = f"{run.replies:,} new replies are kept in {store.folder}"
    if run.failure:
        raise UserError(f"{run.failure}. {kept}")
    if run.signal:
        print(f"stopped: {kept}; run the same command to resume", file=sys.stderr)
        raise SystemExit(128 + run.signal)
    return run.counts


class _UnclearFailure(Exception):
    """Why a request has no answer, for which itself or the server may be to blame."""


class _Stopped(Exception):
    """The run stopped before a request had an answer."""


class _LabelRun:
    """One call of `request_all`."""

    def __init__(
        self,
        endpoint: Endpoint,
        requests: Iterable[LabelRequest],
        store: ReplyStore,
        progress: Callable[[ReplyCounts], None],
    ) -> None:
        self.endpoint = endpoint
        self.store = store
        self.progress = progress
        self.counts = ReplyCounts()
        self.failure: UserError | None = None
        self.signal = 0
        self.limiter = RateLimiter(endpoint.requests_per_minute, endpoint.tokens_per_minute, FIRST_SPACING)
        self.completions, self.mean_seconds = 0, 2 * FIRST_SPACING * endpoint.concurrency
        self.unclear: dict[str, LabelReply] = {}
        self.read, self.taken = 0, 0
        self.missing = store.missing(self.counted(requests), endpoint.model)

    def counted(self, requests: Iterable[LabelRequest]) -> Iterator[LabelRequest]:
        for request in requests:
            self.read += 1
            yield request

    @property
    def replies(self) -> int:
        """On disk since this run began."""
        return self.counts.answered + self.counts.rejected.total()

    async def run(self) -> None:
        self.stopping = asyncio.Event()
        self.over = asyncio.Event()
        async with new_client(self.endpoint) as self.client:
            syncing = asyncio.create_task(self.sync())
            workers = [asyncio.create_task(self.work()) for _ in range(self.endpoint.concurrency)]
            with self.signals(workers):
                ends = await asyncio.gather(*workers, return_exceptions=True)
        self.over.set()
        await syncing
        for end in ends:
            if isinstance(end, Exception):
                raise end
        if not self.stopping.is_set():
            try:
                self.keep_unclear()
            except UserError as error:
                self.fail(error)
        self.keep({})

    async def work(self) -> None:
        try:
            while not self.stopping.is_set() and (request := next(self.missing, None)):
                self.taken += 1
                key = request.key(self.endpoint.model)
                try:
                    self.keep_answered(key, await self.reply(request))
                except _UnclearFailure as failure:
                    self.note_unclear(key, str(failure))
        except _Stopped:
            pass
        except UserError as error:
            self.fail(error)
        except BaseException:
            self.stopping.set()
            raise

    def fail(self, error: UserError) -> None:
        self.failure = self.failure or error
        self.stopping.set()

    async def reply(self, request: LabelRequest) -> LabelReply:
        """Of a structured answer with a fault, the reply to a second request. Raises what `completion` does."""
        body = request.body(self.endpoint.model)
        tokens = rough_tokens(request) + request.max_tokens
        completion = await self.completion(body, tokens)
        first = to_reply(completion, request.schema)
        if not first.fault:
            return first
        second = to_reply(await self.completion(second_body(body, completion.text, first.fault), tokens), request.schema)
        return replace(
            second,
            prompt_tokens=first.prompt_tokens + second.prompt_tokens,
            completion_tokens=first.completion_tokens + second.completion_tokens,
        )

    async def completion(self, body: Mapping[str, Any], tokens: int) -> Completion:
        """With retries. Raises _UnclearFailure, _Stopped and UserError."""
        tries, waits, seen = 0, 0, self.completions
        while True:
            await self.start(tokens)
            started = self.now()
            try:
                completion = await complete(self.client, self.endpoint, body)
            except RequestRefused as refusal:
                raise _UnclearFailure(f"refused: {refusal}") from None
            except TransientError as failure:
                waits += 1
                if not (failure.busy and self.completions > seen):  # a rate limit while others are answered is no failure
                    tries += 1
                seen = self.completions
                if tries > self.endpoint.retries:
                    reason = f"{NO_ANSWER} in {tries} tries: {failure}"
                    if failure.unreachable:
                        raise UserError(f"{self.endpoint.url} gave {reason}") from None
                    raise _UnclearFailure(reason) from None
                self.counts.retries += 1
                if failure.busy and failure.retry_after:
                    self.limiter.pause(failure.retry_after, longest_backoff(waits), self.now())
                await self.sleep(backoff(waits, failure.retry_after))
            else:
                self.completions += 1
                self.mean_seconds += SMOOTHING * (self.now() - started - self.mean_seconds)
                self.limiter.spacing = self.mean_seconds / self.endpoint.concurrency / 2
                return completion

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def start(self, tokens: int) -> None:
        """Returns when a request of this many tokens may start. Raises _Stopped."""
        wait = self.limiter.delay(tokens, self.now())
        while wait > 0 and not self.stopping.is_set():
            await self.sleep(wait)
            wait = self.limiter.delay(tokens, self.now()) if self.now() < self.limiter.paused_until else 0.0
        if self.stopping.is_set():
            raise _Stopped

    async def sleep(self, seconds: float) -> None:
        """For these seconds, or until the run stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()

    def keep_answered(self, key: str, reply: LabelReply) -> None:
        """Keeps a reply and the unclear failures before it: since the server answers, they were the requests' own fault."""
        kept, self.unclear = self.unclear | {key: reply}, {}
        self.keep(kept)

    def note_unclear(self, key: str, reason: str) -> None:
        self.unclear[key] = LabelReply("", reason)
        if len(self.unclear) >= MAX_FAILURES_IN_A_ROW:
            raise UserError(self.blame(reason))

    def keep_unclear(self) -> None:
        """At the end. Raises UserError: a server that has answered nothing at all is to blame for what it refused."""
        refused = [reply.reason for reply in self.unclear.values() if not reply.unanswered]
        if refused and not self.completions:
            raise UserError(self.blame(refused[0]))
        if self.unclear:
            self.keep(self.unclear)

    def blame(self, reason: str) -> str:
        if reason.startswith(NO_ANSWER):
            return f"{self.endpoint.url} gave {reason}. Run the same command when the server is well"
        reason = reason.removeprefix("refused: ")
        return f"{self.endpoint.url} refuses the requests ({reason}); leave out what it refuses, or use another server"

    def keep(self, replies: Mapping[str, LabelReply]) -> None:
        self.store.put(replies)
        for reply in replies.values():
            self.counts.add(reply)
        self.counts.kept = self.read - self.taken
        self.progress(self.counts)

    async def sync(self) -> None:
        while not self.over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(SYNC_SECONDS):
                    await self.over.wait()
            try:
                await asyncio.to_thread(self.store.sync)
            except UserError as error:
                self.fail(error)

    @contextmanager
    def signals(self, workers: Sequence[asyncio.Task[None]]) -> Iterator[None]:
        """The first SIGINT or SIGTERM stops the workers, the second one ends them."""
        loop = asyncio.get_running_loop()

        def end() -> None:
            for worker in workers:
                worker.cancel()

        def stop(number: int) -> None:
            if self.signal:
                end()
                return
            self.signal = number
            self.stopping.set()
            loop.call_later(GRACE_SECONDS, end)
            print(f"stopping: requests in flight have {GRACE_SECONDS:.0f} s; a second signal stops at once", file=sys.stderr)

        numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        for number in numbers:
            loop.add_signal_handler(number, stop, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
