"""Addresses, licences and published checksums of the raw corpora.

Every address is the authors' own as they publish it: ESCI's from the Git LFS pointers in its repository, those of Amazon Review
Data from its page, those of AmazonQA from its README; the paths of Amazon Reviews 2023 are those of its loading script. None of
these hosts could be reached when this was written, so no address was tried.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import UserError
from dataset_builders.sources import amazon_reviews, amazon_reviews_2023, amazonqa, ecinstruct, esci, merrec

UNLICENSED = "none stated"
"""What a corpus has for a licence whose authors state none."""

_CATEGORIES = """
AMAZON_FASHION All_Beauty Appliances Arts_Crafts_and_Sewing Automotive Books CDs_and_Vinyl Cell_Phones_and_Accessories
Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards Grocery_and_Gourmet_Food Home_and_Kitchen
Industrial_and_Scientific Kindle_Store Luxury_Beauty Magazine_Subscriptions Movies_and_TV Musical_Instruments Office_Products
Patio_Lawn_and_Garden Pet_Supplies Prime_Pantry Software Sports_and_Outdoors Tools_and_Home_Improvement Toys_and_Games
Video_Games
"""
CATEGORIES = tuple(_CATEGORIES.split())
"""The categories of Amazon Review Data 2018, as its file names spell them."""

_CATEGORIES_2023 = """
All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Automotive Baby_Products Beauty_and_Personal_Care Books
CDs_and_Vinyl Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards
Grocery_and_Gourmet_Food Handmade_Products Health_and_Household Health_and_Personal_Care Home_and_Kitchen
Industrial_and_Scientific Kindle_Store Magazine_Subscriptions Movies_and_TV Musical_Instruments Office_Products
Patio_Lawn_and_Garden Pet_Supplies Software Sports_and_Outdoors Subscription_Boxes Tools_and_Home_Improvement Toys_and_Games
Unknown Video_Games
"""
CATEGORIES_2023 = tuple(_CATEGORIES_2023.split())
"""The categories of Amazon Reviews 2023."""

MERREC_FILES = "20230501/000000000000.parquet"
"""One of the many parts of MerRec's first month: the whole events of some of its users."""

_AMAZON = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2"
_AMAZONQA = "https://amazon-qa.s3-us-west-2.amazonaws.com"
# Git LFS content, by the commit that the checksums are from.
_ESCI = "https://media.githubusercontent.com/media/amazon-science/esci-data/7e0e3073f5ca36c0b5ff79e847cf99a74597645d"


@dataclass(frozen=True)
class RemoteFile:
    """One file of a corpus. `path` is below the output folder, `size` in bytes; what its authors do not publish is None."""

    path: str
    url: str
    size: int | None = None
    sha256: str | None = None

    @property
    def address(self) -> str:
        """The url without the user's name and password that may be in it."""
        return re.sub(r"//[^/@]*@", "//", self.url)


@dataclass(frozen=True)
class RemoteCorpus:
    """A corpus: either `files` at plain addresses, or those of the Hub dataset `repo_id` that the globs `patterns` match.

    `page` is where its authors describe it; `by_hand` says what else belongs to it and cannot be fetched from here.
    `categories` are those that it can be fetched by, if there are any.
    """

    name: str
    licence: str
    page: str
    files: tuple[RemoteFile, ...] = ()
    repo_id: str | None = None
    patterns: tuple[str, ...] = ()
    by_hand: str | None = None
    categories: tuple[str, ...] = ()


def remote_corpora(categories: Sequence[str] = (), merrec_files: str = MERREC_FILES) -> dict[str, RemoteCorpus]:
    """The corpora by name, those with a licence first. Raises UserError for a category that no corpus has."""
    known = dict.fromkeys((*CATEGORIES, *CATEGORIES_2023))
    if unknown := [name for name in categories if name not in known]:
        raise UserError(f"--categories knows no {', '.join(unknown)}. The categories are {', '.join(known)}.")
    everything = (
        RemoteCorpus(esci.NAME, esci.LICENCE, "https://github.com/amazon-science/esci-data", files=_esci()),
        RemoteCorpus(
            merrec.NAME,
            merrec.LICENCE,
            "https://huggingface.co/datasets/mercari-us/merrec",
            repo_id="mercari-us/merrec",
            patterns=(merrec_files,),
        ),
        RemoteCorpus(
            ecinstruct.NAME,
            ecinstruct.LICENCE,
            "https://huggingface.co/datasets/NingLab/ECInstruct",
            repo_id="NingLab/ECInstruct",
            patterns=("*.json",),
        ),
        RemoteCorpus(
            amazon_reviews_2023.NAME,
            amazon_reviews_2023.LICENCE,
            "https://huggingface.co/datasets/McAuley-Lab/Amazon-Reviews-2023",
            repo_id="McAuley-Lab/Amazon-Reviews-2023",
            patterns=tuple(
                f"raw/{path}.jsonl"
                for category in categories
                for path in (f"review_categories/{category}", f"meta_categories/meta_{category}")
            ),
            categories=CATEGORIES_2023,
        ),
        RemoteCorpus(
            amazon_reviews.NAME,
            amazon_reviews.LICENCE,
            "https://cseweb.ucsd.edu/~jmcauley/datasets/amazon_v2/",
            files=tuple(file for category in categories for file in _amazon_reviews(category)),
            categories=CATEGORIES,
        ),
        RemoteCorpus(
            amazonqa.NAME,
            amazonqa.LICENCE,
            "https://github.com/amazonqa/amazonqa",
            files=tuple(
                RemoteFile(f"{amazonqa.NAME}/{split}-qar.jsonl", f"{_AMAZONQA}/{split}-qar.jsonl") for split in ("train", "val")
            ),
            by_hand="its test questions lie on Google Drive; the README on its page has the link. Save them as test-qar.jsonl "
            "beside the other two, or build without them",
        ),
    )
    return {corpus.name: corpus for corpus in everything}


def _esci() -> tuple[RemoteFile, ...]:
    published = (
        ("examples", 51_286_808, "4a735b693b4a424a6fc67f5be6e4c811495c488bbf66d02a602d308b2744263a"),
        ("products", 1_108_857_465, "25124442d064d64b26f74082d6fa09438d679efc0c183cf28d19064a2b65a265"),
    )
    folder = "shopping_queries_dataset"
    return tuple(
        RemoteFile(f"{esci.NAME}/{folder}_{name}.parquet", f"{_ESCI}/{folder}/{folder}_{name}.parquet", size, sha256)
        for name, size, sha256 in published
    )


def _amazon_reviews(category: str) -> tuple[RemoteFile, RemoteFile]:
    """The reviews of the 5-core, where every user and every product has five or more, and the products."""
    reviews, products = f"{category}_5.json.gz", f"meta_{category}.json.gz"
    return (
        RemoteFile(f"{amazon_reviews.NAME}/{reviews}", f"{_AMAZON}/categoryFilesSmall/{reviews}"),
        RemoteFile(f"{amazon_reviews.NAME}/{products}", f"{_AMAZON}/metaFiles2/{products}"),
    )
