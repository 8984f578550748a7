"""Groups of prompts with a common prefix, so that the prefix is computed once."""

from collections.abc import Sequence
from dataclasses import dataclass

LEAST_ROWS = 6
"""Rows below which a longer common beginning is not worth a group of its own."""

LEAST_GAIN = 8
"""Tokens by which the common beginning must grow for that."""


@dataclass(frozen=True)
class PrefixGroup:
    """Places of prompts, the longest first, whose first `shared` tokens are the same; at least one more follows in each."""

    shared: int
    places: tuple[int, ...]


def prompt_groups(ids: Sequence[Sequence[int]], least: int = LEAST_ROWS) -> list[PrefixGroup]:
    """Every prompt (at least one token each) in one group. `least`: see LEAST_ROWS."""
    return _split(ids, sorted(range(len(ids)), key=lambda place: list(ids[place])), least) if ids else []


def _split(ids: Sequence[Sequence[int]], places: Sequence[int], least: int) -> list[PrefixGroup]:
    """`places` in the order of their tokens, so that those that go on alike stand together."""
    shared = _shared(ids, places)
    by_next: dict[int, list[int]] = {}
    for place in places:
        by_next.setdefault(ids[place][shared], []).append(place)
    groups, rest = [], []
    for members in by_next.values():
        if len(by_next) > 1 and len(members) >= least and _shared(ids, members) >= shared + LEAST_GAIN:
            groups += _split(ids, members, least)
        else:
            rest += members
    if rest:
        groups.append(PrefixGroup(shared if len(rest) > 1 else 0, tuple(sorted(rest, key=lambda place: -len(ids[place])))))
    return groups


def _shared(ids: Sequence[Sequence[int]], places: Sequence[int]) -> int:
    """Tokens that all begin with, one less than the shortest has at most. `places` are sorted by their tokens."""
    first, last = ids[places[0]], ids[places[-1]]  # of sorted sequences the outermost two have the least in common
    most = min(len(ids[place]) for place in places) - 1
    return next((count for count in range(most) if first[count] != last[count]), most)
