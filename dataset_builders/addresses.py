"""Where the raw corpora lie, under which licence, and what their files must be.

Every address is the authors' own as they publish it: ESCI's from the Git LFS pointers in its repository, those of Amazon Review
Data from its page, those of AmazonQA from its README. None of these hosts could be reached when this was written, so no address
was tried.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

from common.errors import UserError
from common.hub import hub_errors
from dataset_builders.fetch import retried, root
from dataset_builders.sources import amazon_reviews, amazonqa, ecinstruct, esci, merrec

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

MERREC_FILES = "20230501/000000000000.parquet"
"""One of the many parts of MerRec's first month: the whole events of some of its users."""

_AMAZON = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2"
_AMAZONQA = "https://amazon-qa.s3-us-west-2.amazonaws.com"
# Git LFS content, by the commit that the checksums are from.
_ESCI = "https://media.githubusercontent.com/media/amazon-science/esci-data/7e0e3073f5ca36c0b5ff79e847cf99a74597645d"


@dataclass(frozen=True)
class RemoteFile:
    """One file of a corpus. `path` is below the output folder, `size` in bytes; what its authors do not publish is None.

    `git_oid` is git's sha1 of a Hub file that is not in LFS, and so has no sha256 there.
    """

    path: str
    url: str
    size: int | None = None
    sha256: str | None = None
    git_oid: str | None = None


@dataclass(frozen=True)
class Corpus:
    """A corpus: either `files` at plain addresses, or those of the Hub dataset `repo_id` that the glob `pattern` matches.

    `page` is where its authors describe it; `by_hand` says what else belongs to it and cannot be fetched from here.
    """

    name: str
    licence: str
    page: str
    files: tuple[RemoteFile, ...] = ()
    repo_id: str | None = None
    pattern: str = ""
    by_hand: str | None = None


def corpora(categories: Sequence[str] = (), merrec_files: str = MERREC_FILES) -> dict[str, Corpus]:
    """The five corpora by name, those with a licence first. Raises UserError for a category that there is not."""
    if unknown := [name for name in categories if name not in CATEGORIES]:
        raise UserError(f"--categories knows no {', '.join(unknown)}. The categories are {', '.join(CATEGORIES)}.")
    all_five = (
        Corpus(esci.NAME, esci.LICENCE, "https://github.com/amazon-science/esci-data", files=_esci()),
        Corpus(
            merrec.NAME,
            merrec.LICENCE,
            "https://huggingface.co/datasets/mercari-us/merrec",
            repo_id="mercari-us/merrec",
            pattern=merrec_files,
        ),
        Corpus(
            ecinstruct.NAME,
            ecinstruct.LICENCE,
            "https://huggingface.co/datasets/NingLab/ECInstruct",
            repo_id="NingLab/ECInstruct",
            pattern="*.json",
        ),
        Corpus(
            amazon_reviews.NAME,
            amazon_reviews.LICENCE,
            "https://cseweb.ucsd.edu/~jmcauley/datasets/amazon_v2/",
            files=tuple(file for category in categories for file in _amazon_reviews(category)),
        ),
        Corpus(
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
    return {corpus.name: corpus for corpus in all_five}


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


def hub_files(corpus: Corpus, revision: str | None) -> tuple[str, list[RemoteFile]]:
    """The repository's commit at the revision, and its files there that the corpus's pattern matches."""
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils import disable_progress_bars

    repo_id = corpus.repo_id or ""
    if not sys.stderr.isatty():
        disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its notes on retries hold signed addresses
    with hub_read_errors(repo_id):
        api = HfApi()
        commit = retried(lambda: api.repo_info(repo_id, repo_type="dataset", revision=revision), lambda: 0).sha or ""
        entries = retried(
            lambda: [*api.list_repo_tree(repo_id, recursive=True, revision=commit, repo_type="dataset")], lambda: 0
        )
    present = [entry for entry in entries if isinstance(entry, RepoFile)]
    files = [
        RemoteFile(
            f"{corpus.name}/{entry.path}",
            hf_hub_url(repo_id, entry.path, repo_type="dataset", revision=commit),
            entry.size,
            entry.lfs.sha256 if entry.lfs else None,
            None if entry.lfs else entry.blob_id,
        )
        for entry in present
        if fnmatchcase(entry.path, corpus.pattern)
    ]
    if not files:
        some = ", ".join([entry.path for entry in present if not entry.path.startswith(".")][:3]) or "nothing"
        raise UserError(f"{repo_id} has no file {corpus.pattern}; it has {len(present)} files, such as {some}.")
    return commit, sorted(files, key=lambda file: file.path)


@contextmanager
def hub_read_errors(repo_id: str) -> Iterator[None]:
    """Turns what huggingface_hub raises over reading `repo_id` into a UserError."""
    from huggingface_hub import errors

    with hub_errors(repo_id):
        try:
            yield
        except errors.RevisionNotFoundError:
            raise UserError(f"{repo_id} has no revision of that name; give --revision with this corpus alone.") from None
        except errors.GatedRepoError:
            raise
        except errors.HfHubHTTPError as error:
            if error.response.status_code in (401, 403, 404):
                raise UserError(
                    f"{repo_id} cannot be read ({error.response.status_code}): it is not on that Hub, or the token in use may "
                    "not read it. Check HF_ENDPOINT, log in with `hf auth login`, or unset HF_TOKEN."
                ) from None
            raise
        except FileNotFoundError as error:
            raise root(error) from None
