"""Asks a server of chat completions for what is missing, until every ask has a reply.

A reply is on disk before its worker goes on to the next ask, so that no more than the requests under way can be lost. What may
pass is asked again. What seems to be wrong with one ask (the server fails at it again and again, or calls it a bad request)
makes its reply a rejection, once another one has been answered after it; where several in a row fare so, the server is to
blame, and the run ends.
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
    PassingError,
    RequestRefused,
    complete,
    new_client,
)
from common.errors import UserError
from common.retry import backoff, longest_backoff
from dataset_builders.labelling.costs import rough_tokens
from dataset_builders.labelling.rate_limit import Pace
from dataset_builders.labelling.reply_store import Replies
from dataset_builders.labelling.requests import NO_ANSWER, Ask, Counts, Reply
from dataset_builders.labelling.structured import asked_again, check, final

__all__ = ["Endpoint", "ask_all"]

IN_A_ROW = 5
"""So many asks after one another without an answer, and the server is to blame."""

APART = 0.002
"""Seconds between the first requests (see Pace)."""

SMOOTHING = 0.05
"""Weight of the latest reply in the mean time that one takes."""

SYNCHRONISED_EVERY = 1.0
"""Seconds."""

GRACE = 30.0
"""Seconds that what is under way has after the first SIGINT or SIGTERM."""


def ask_all(endpoint: Endpoint, asks: Iterable[Ask], store: Replies, progress: Callable[[Counts], None]) -> Counts:
    """Asks what is missing in `store` and keeps each reply as it comes; `progress` is called whenever some are on disk.

    `asks` may be a generator of any length: one is taken when a request can start. Raises UserError for what will not pass,
    when the replies to what was under way are kept. SIGINT and SIGTERM do the same, with GRACE seconds for those replies, which
    a second one cuts short; then SystemExit is raised with the shell's code for the signal.
    """
    run = _Run(endpoint, asks, store, progress)
    asyncio.run(run.whole())
    kept = f"{run.replies:,} new replies are kept in {store.folder}"
    if run.failure:
        raise UserError(f"{run.failure}. {kept}")
    if run.signal:
        print(f"stopped: {kept}; run the same command to go on", file=sys.stderr)
        raise SystemExit(128 + run.signal)
    return run.counts


class _Doubt(Exception):
    """Why an ask has no answer, for which itself or the server may be to blame."""


class _Stopped(Exception):
    """The run stopped before an ask had an answer."""


class _Run:
    """One call of `ask_all`."""

    def __init__(self, endpoint: Endpoint, asks: Iterable[Ask], store: Replies, progress: Callable[[Counts], None]) -> None:
        self.endpoint = endpoint
        self.store = store
        self.progress = progress
        self.counts = Counts()
        self.failure: UserError | None = None
        self.signal = 0
        self.pace = Pace(endpoint.requests_per_minute, endpoint.tokens_per_minute, APART)
        self.completions, self.seconds = 0, 2 * APART * endpoint.concurrency
        self.doubts: dict[str, Reply] = {}
        self.read, self.taken = 0, 0
        self.asks = store.missing(self.counted(asks), endpoint.model)

    def counted(self, asks: Iterable[Ask]) -> Iterator[Ask]:
        for ask in asks:
            self.read += 1
            yield ask

    @property
    def replies(self) -> int:
        """On disk since this run began."""
        return self.counts.answered + self.counts.rejected.total()

    async def whole(self) -> None:
        self.stopping = asyncio.Event()
        self.over = asyncio.Event()
        async with new_client(self.endpoint) as self.client:
            synchronising = asyncio.create_task(self.synchronise())
            workers = [asyncio.create_task(self.work()) for _ in range(self.endpoint.concurrency)]
            with self.signals(workers):
                ends = await asyncio.gather(*workers, return_exceptions=True)
        self.over.set()
        await synchronising
        for end in ends:
            if isinstance(end, Exception):
                raise end
        if not self.stopping.is_set():
            try:
                self.settle_doubts()
            except UserError as error:
                self.fail(error)
        self.keep({})

    async def work(self) -> None:
        try:
            while not self.stopping.is_set() and (ask := next(self.asks, None)):
                self.taken += 1
                key = ask.key(self.endpoint.model)
                try:
                    self.settle(key, await self.reply(ask))
                except _Doubt as doubt:
                    self.doubt(key, str(doubt))
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

    async def reply(self, ask: Ask) -> Reply:
        """Raises _Doubt, _Stopped and UserError."""
        body = ask.body(self.endpoint.model)
        tokens = rough_tokens(ask) + ask.max_tokens
        first = await self.completion(body, tokens)
        reason, wrong = check(ask.schema, first)
        if not wrong:
            return final(first, reason, wrong)
        second = await self.completion(asked_again(body, first.text, wrong), tokens)
        reply = final(second, *check(ask.schema, second))
        prompt_tokens = first.prompt_tokens + second.prompt_tokens
        completion_tokens = first.completion_tokens + second.completion_tokens
        return replace(reply, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)

    async def completion(self, body: Mapping[str, Any], tokens: int) -> Completion:
        """Asks until there is one. Raises _Doubt, _Stopped and UserError."""
        tries, waits, seen = 0, 0, self.completions
        while True:
            await self.start(tokens)
            started = self.now()
            try:
                completion = await complete(self.client, self.endpoint, body)
            except RequestRefused as refusal:
                raise _Doubt(f"refused: {refusal}") from None
            except PassingError as failure:
                waits += 1
                if not (failure.busy and self.completions > seen):  # while others are answered, it says nothing about this ask
                    tries += 1
                seen = self.completions
                if tries > self.endpoint.retries:
                    told = f"{NO_ANSWER} in {tries} tries: {failure}"
                    if failure.unreachable:
                        raise UserError(f"{self.endpoint.url} gave {told}") from None
                    raise _Doubt(told) from None
                self.counts.retries += 1
                if failure.busy and failure.wait:
                    self.pace.hold(failure.wait, longest_backoff(waits), self.now())
                await self.sleep(backoff(waits, failure.wait))
            else:
                self.completions += 1
                self.seconds += SMOOTHING * (self.now() - started - self.seconds)
                self.pace.apart = self.seconds / self.endpoint.concurrency / 2
                return completion

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def start(self, tokens: int) -> None:
        """Returns when a request of so many tokens may start. Raises _Stopped."""
        wait = self.pace.turn(tokens, self.now())
        while wait > 0 and not self.stopping.is_set():
            await self.sleep(wait)
            wait = self.pace.turn(tokens, self.now()) if self.now() < self.pace.held_until else 0.0
        if self.stopping.is_set():
            raise _Stopped

    async def sleep(self, seconds: float) -> None:
        """For so long, or until the run stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()

    def settle(self, key: str, reply: Reply) -> None:
        """Keeps a reply and the doubtful ones before it: since the server has answered, they were to blame themselves."""
        settled, self.doubts = self.doubts | {key: reply}, {}
        self.keep(settled)

    def doubt(self, key: str, reason: str) -> None:
        self.doubts[key] = Reply("", reason)
        if len(self.doubts) >= IN_A_ROW:
            raise UserError(self.blame(reason))

    def settle_doubts(self) -> None:
        """At the end. Raises UserError: a server that has answered nothing at all is to blame for what it refused."""
        refused = [reply.reason for reply in self.doubts.values() if not reply.unanswered]
        if refused and not self.completions:
            raise UserError(self.blame(refused[0]))
        if self.doubts:
            self.keep(self.doubts)

    def blame(self, reason: str) -> str:
        if reason.startswith(NO_ANSWER):
            return f"{self.endpoint.url} gave {reason}. Run the same command when the server is well"
        said = reason.removeprefix("refused: ")
        return f"{self.endpoint.url} refuses the requests ({said}); ask for what it knows, or another server"

    def keep(self, replies: Mapping[str, Reply]) -> None:
        self.store.put(replies)
        for reply in replies.values():
            self.counts.add(reply)
        self.counts.kept = self.read - self.taken
        self.progress(self.counts)

    async def synchronise(self) -> None:
        while not self.over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(SYNCHRONISED_EVERY):
                    await self.over.wait()
            try:
                await asyncio.to_thread(self.store.synchronise)
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
            loop.call_later(GRACE, end)
            print(f"stopping: what is under way has {GRACE:.0f} seconds to end; once more stops at once", file=sys.stderr)

        numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        for number in numbers:
            loop.add_signal_handler(number, stop, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
