"""Texts of one batch as a tree of their tokens, so that what several begin with is computed once and without padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ScoredText:
    """The tokens of a prompt and one of its candidates, of which those from `start` (at least 1) on are scored.

    `ended`: that the turn ends after them is scored, too.
    """

    ids: tuple[int, ...]
    start: int
    ended: bool = False

    @property
    def read(self) -> tuple[int, ...]:
        """The tokens that a model has to read to predict all that is scored."""
        return self.ids if self.ended else self.ids[:-1]


@dataclass(frozen=True)
class TokenTree:
    """The nodes of some texts, each behind its parent; `parents` are places among the nodes, -1 of a root.

    `depths` count from the end of the common prefix. `paths` are the nodes of each text, in the order of `texts`, which are
    places in the list that the tree was made of.
    """

    texts: tuple[int, ...]
    tokens: tuple[int, ...]
    depths: tuple[int, ...]
    parents: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]

    def visible(self) -> Any:
        """bool (nodes, nodes): true where the second is the first or one that it follows from."""
        import numpy as np

        seen = np.eye(len(self.tokens), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen


def token_trees(texts: Sequence[ScoredText], places: Sequence[int], shared: int, most: int) -> Iterator[TokenTree]:
    """Trees of `texts[place]` without their first `shared` tokens, of at most `most` nodes each, unless it is a single text."""
    tree: list[int] = []
    nodes, before = 0, tuple[int, ...]()
    for place in sorted(places, key=lambda place: texts[place].read):
        own = texts[place].read[shared:]
        new = len(own) - common(own, before)
        if tree and nodes + new > most:
            yield _tree(texts, tree, shared)
            tree, nodes, new = [], 0, len(own)
        tree.append(place)
        nodes, before = nodes + new, own
    if tree:
        yield _tree(texts, tree, shared)


def _tree(texts: Sequence[ScoredText], places: Sequence[int], shared: int) -> TokenTree:
    tokens: list[int] = []
    depths: list[int] = []
    parents: list[int] = []
    paths: list[tuple[int, ...]] = []
    before, path = tuple[int, ...](), list[int]()
    for place in places:
        own = texts[place].read[shared:]
        path = path[: common(own, before)]
        for depth in range(len(path), len(own)):
            parents.append(path[-1] if path else -1)
            depths.append(depth)
            path.append(len(tokens))
            tokens.append(own[depth])
        paths.append(tuple(path))
        before = own
    return TokenTree(tuple(places), tuple(tokens), tuple(depths), tuple(parents), tuple(paths))


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """Tokens that both begin with."""
    most = min(len(first), len(second))
    return next((place for place in range(most) if first[place] != second[place]), most)
