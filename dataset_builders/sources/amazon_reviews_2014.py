"""The 2014 edition of Amazon Review Data, told apart from that of 2018, whose file names it shares.

Its reviews are read as those of 2018 are. Its metadata, a Python dict a line, is not: a reason names the edition.
Format: https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html
"""

from pathlib import Path

from dataset_builders.raw_files import DAMAGED, open_bytes, stem_and_ending
from dataset_builders.records import json_lines
from dataset_builders.sources.amazon_reviews import canonical, read, spans

NAME = "amazon_reviews_2014"
LICENCE = "none stated"

__all__ = ["LICENCE", "NAME", "canonical", "claims", "read", "spans"]


def claims(path: Path) -> bool:
    stem, ending = stem_and_ending(path)
    if ending != ".json":
        return False
    if stem.startswith("meta_"):
        return _first_bytes(path) == b"{'"
    first = next(json_lines(path), None)
    # Votes are the pair `helpful` here, and the number `vote` in 2018.
    return first is not None and isinstance(first[1], dict) and {"overall", "reviewText", "helpful"} <= first[1].keys()


def _first_bytes(path: Path) -> bytes:
    with open_bytes(path) as file:
        try:
            return file.read(2)
        except DAMAGED:
            return b""
