"""Downloads raw corpora into a folder that `python -m dataset_builders.build --raw` reads.

    python -m dataset_builders.download --out raw --dry-run
    python -m dataset_builders.download --out raw --corpora esci,ecinstruct
    python -m dataset_builders.download --out raw --corpora amazon_reviews_2023 --categories Gift_Cards,All_Beauty

Files that are there already are checked and not fetched again. Where the authors publish no checksum, the sha256 of the first
download is kept in the folder's `checksums.json` and holds from then on. The addresses are the authors' own as they publish
them; they could not be reached when this was written (see `remote_corpora.py`).
"""

import argparse
import errno
import glob
import gzip
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from common.dataset import reading
from common.errors import UserError, first_line, plain_errors
from common.files import read_object, readable_size, sha256_of, write_json
from dataset_builders.remote_corpora import MERREC_FILES, UNLICENSED, RemoteCorpus, RemoteFile, remote_corpora
from dataset_builders.samples.files import SAMPLE_MARKER

CHECKSUMS = "checksums.json"
"""Path below the output folder -> sha256, of every file whose authors publish none."""

RETRIES = 3
"""Further tries of a plain address after a cut connection or a server error, after 1, 2 and 3 seconds."""


def choose(names: str | None, categories: str, merrec_files: str) -> list[RemoteCorpus]:
    """The corpora to fetch; by default those whose authors state a licence. Raises UserError for an unknown name."""
    if not _split(categories):
        raise UserError("--categories is empty; give at least one, such as Gift_Cards.")
    known = remote_corpora(_split(categories), merrec_files)
    if names is None:
        return [corpus for corpus in known.values() if corpus.licence != UNLICENSED]
    if (unknown := [name for name in _split(names) if name not in known]) or not _split(names):
        raise UserError(f"--corpora knows no {', '.join(unknown) or 'empty list'}. The corpora are {', '.join(known)}.")
    chosen = [known[name] for name in dict.fromkeys(_split(names))]
    for corpus in chosen:
        if corpus.categories and (others := [name for name in _split(categories) if name not in corpus.categories]):
            raise UserError(f"{corpus.name} has no category {', '.join(others)}. It has {', '.join(corpus.categories)}.")
    return chosen


def list_files(corpus: RemoteCorpus, mirror: str | None, revision: str | None) -> list[RemoteFile]:
    """The corpus's files, with their addresses and, where they are known, sizes and checksums. Raises UserError.

    mirror: address of a folder laid out as the output folder, in place of the authors' addresses; not for Hub repositories.
    revision: branch, tag or commit of the Hub repository; the addresses name its commit.
    """
    if not corpus.repo_id:
        if mirror is None:
            return list(corpus.files)
        return [replace(file, url=f"{mirror.rstrip('/')}/{file.path}") for file in corpus.files]
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.hf_api import RepoFile

    with reading(corpus.repo_id, revision):
        commit = HfApi().repo_info(corpus.repo_id, repo_type="dataset", revision=revision).sha
        entries = [*HfApi().list_repo_tree(corpus.repo_id, recursive=True, revision=commit, repo_type="dataset")]
    present = [entry for entry in entries if isinstance(entry, RepoFile)]
    files = [
        RemoteFile(
            f"{corpus.name}/{entry.path}",
            hf_hub_url(corpus.repo_id, entry.path, repo_type="dataset", revision=commit),
            entry.size,
            entry.lfs.sha256 if entry.lfs else None,
        )
        for entry in sorted(present, key=lambda entry: entry.path)
        if any(fnmatchcase(entry.path, pattern) for pattern in corpus.patterns)
    ]
    for pattern in corpus.patterns:
        if not any(fnmatchcase(entry.path, pattern) for entry in present):
            some = ", ".join([entry.path for entry in present if not entry.path.startswith(".")][:3]) or "nothing"
            raise UserError(f"{corpus.repo_id} has no file {pattern}; it has {len(present)} files, such as {some}.")
    return files


def fetch_from_hub(corpus: RemoteCorpus, files: Sequence[RemoteFile], out: Path) -> None:
    """Fetches the files with huggingface_hub, which resumes cut downloads and skips whole files. Raises UserError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    assert corpus.repo_id
    if not sys.stderr.isatty():
        disable_progress_bars()
    commit = files[0].url.split("/resolve/")[1].split("/")[0]
    before = {file.path: _time(out / file.path) for file in files}
    with reading(corpus.repo_id, commit), disk_errors(out):
        names = [glob.escape(file.path.removeprefix(f"{corpus.name}/")) for file in files]
        snapshot_download(
            corpus.repo_id, repo_type="dataset", revision=commit, local_dir=out / corpus.name, allow_patterns=names
        )
    for file in files:
        path = out / file.path
        if _time(path) != before[file.path] and (fault := _fault(path, path.name, file.sha256)):
            path.unlink()
            raise UserError(f"{file.path} from the Hub {fault}; it was deleted. Run the command again.")


def fetch_from_addresses(corpus: RemoteCorpus, files: Sequence[RemoteFile], out: Path) -> None:
    """Fetches the files from plain web addresses with pooch; a file takes its place when it is whole. Raises UserError.

    Checksums that the authors do not publish are kept in the folder's CHECKSUMS.
    """
    checksums = read_checksums(out)
    for file in files:
        path, known = out / file.path, file.sha256 or checksums.get(file.path)
        by_hand = f"see {corpus.page}, put the file at {path} yourself, or give a --mirror that has it."
        if known and not file.sha256:
            by_hand += f" If its authors have replaced it, take its line out of {out / CHECKSUMS}."
        with disk_errors(out):
            if path.is_file() and not known and _fault(path, path.name, None):
                path.unlink()
            _fetch(file, out, known, by_hand)
            if not known:
                checksums[file.path] = sha256_of(path)
                write_json(out / CHECKSUMS, dict(sorted(checksums.items())))


def _fetch(file: RemoteFile, out: Path, sha256: str | None, by_hand: str) -> None:
    import pooch
    from requests import RequestException

    def download(address: str, target: str, _: Any) -> None:
        hooks = {"response": lambda response, **_: _check_response(response, file.address, by_hand)}
        pooch.HTTPDownloader(sys.stderr.isatty(), chunk_size=2**20, timeout=30, hooks=hooks)(address, target, None)
        if fault := _fault(Path(target), file.path, sha256):
            raise UserError(f"what {file.address} sent {fault}; {by_hand}")

    pooch.get_logger().setLevel("WARNING")
    store = pooch.create(out, base_url="", registry={file.path: sha256}, urls={file.path: file.url}, retry_if_failed=RETRIES)
    try:
        store.fetch(file.path, downloader=download)
    except RequestException as error:
        reason = first_line(error).replace(file.url, file.address)
        raise UserError(f"{file.address} cannot be fetched ({reason}); check the network and try again, or {by_hand}") from None


def _check_response(response: Any, url: str, by_hand: str) -> None:
    """Raises UserError where another try does not help; keeps a .gz file as it is, whatever the server calls its encoding."""
    response.raw.headers.pop("Content-Encoding", None)
    status = response.status_code
    if 400 <= status < 500 and status not in (408, 429):
        reasons = {401: "is not open to everyone", 403: "is not open to everyone", 404: "is not there", 410: "is not there"}
        raise UserError(f"{url} {reasons.get(status, 'refuses')} ({status}); {by_hand}")


def _fault(path: Path, name: str, sha256: str | None) -> str | None:
    """What is wrong with a file's content by its checksum or, without one, by its format; else None."""
    if sha256:
        found = sha256_of(path)
        return f"has the sha256 {found} and not {sha256}" if found != sha256 else None
    if name.endswith(".jsonl"):
        with path.open("rb") as file:
            return None if file.read(1) == b"{" else "is not JSON lines"
    if not name.endswith(".gz"):
        return None
    try:
        with gzip.open(path) as file:
            empty = not file.read(1)
            while file.read(2**20):
                pass
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return "is not a whole gzip file"
    return "is empty" if empty else None


def read_checksums(out: Path) -> dict[str, str]:
    """Path -> sha256 as an earlier run left it; empty without one. Raises UserError where it is not such a file."""
    checksums = read_object(out / CHECKSUMS) if (out / CHECKSUMS).exists() else {}
    if not all(isinstance(value, str) for value in checksums.values()):
        raise UserError(f"{out / CHECKSUMS} holds no checksums; write it again, or delete it to take the files as they are.")
    return checksums


def _is_there(out: Path, file: RemoteFile) -> bool:
    path = out / file.path
    return path.is_file() and file.size in (None, path.stat().st_size)


def _time(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.is_file() else None


@contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Turns what the disk refuses into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"the disk of {out} is full; make room and run the command again.") from None
        if error.errno is None:
            raise
        place = error.filename or out
        raise UserError(f"{place} cannot be read or written: {error.strerror}. Give an --out that you may write to.") from None


def print_files(corpus: RemoteCorpus, files: Sequence[RemoteFile], state: Callable[[RemoteFile], str]) -> None:
    """Prints the corpus's licence and, for each file, its size and state."""
    total = readable_size(sum(file.size or 0 for file in files)) if all(file.size for file in files) else "size not published"
    print(f"{corpus.name}: {len(files)} files, {total}, licence: {corpus.licence}")
    for file in files:
        print(f"  {file.path}  {readable_size(file.size) if file.size else 'size not published'}  {state(file)}")


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dataset_builders.download", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the raw corpora; others in it stay")
    names = ", ".join(remote_corpora())
    parser.add_argument("--corpora", metavar="A,B", help=f"of {names} (default: those with a stated licence)")
    parser.add_argument(
        "--categories", default="Gift_Cards", metavar="A,B", help="of the Amazon reviews (default: %(default)s, a small one)"
    )
    parser.add_argument(
        "--merrec-files",
        default=MERREC_FILES,
        metavar="GLOB",
        help="of MerRec's repository, which is large (default: %(default)s)",
    )
    parser.add_argument("--mirror", metavar="URL", help="web folder laid out as --out is, in place of the authors' addresses")
    parser.add_argument("--revision", help="branch, tag or commit of the Hub repositories (default: main)")
    parser.add_argument("--dry-run", action="store_true", help="list the files with sizes and licences; fetch nothing")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    with plain_errors():
        download(options)


def download(options: argparse.Namespace) -> None:
    """Lists or fetches the chosen corpora. Raises UserError."""
    out: Path = options.out
    chosen = choose(options.corpora, options.categories, options.merrec_files)
    if options.mirror and not options.mirror.startswith(("https://", "http://")):
        raise UserError(f"--mirror {options.mirror} is no web address; begin it with https://")
    for corpus in chosen:
        if corpus.licence == UNLICENSED:
            print(f"{corpus.name}: its authors state no licence; read {corpus.page} before you use or share it.")
        if corpus.by_hand:
            print(f"{corpus.name}: {corpus.by_hand}.")
    listed = {corpus: list_files(corpus, options.mirror, options.revision) for corpus in chosen}
    if options.dry_run:
        for corpus, files in listed.items():
            print_files(corpus, files, lambda file: "already there" if _is_there(out, file) else f"from {file.address}")
        return
    if (out / SAMPLE_MARKER).exists():
        raise UserError(f"{out} holds sample corpora, whose rows are marked as such. Give another --out.")
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    fetched: set[str] = set()
    for corpus, files in listed.items():
        before = {file.path: _time(out / file.path) for file in files}
        (fetch_from_hub if corpus.repo_id else fetch_from_addresses)(corpus, files, out)
        fetched.update(path for path, time in before.items() if _time(out / path) != time)
        sized = [replace(file, size=(out / file.path).stat().st_size) for file in files]
        print_files(corpus, sized, lambda file: "fetched" if file.path in fetched else "already there")
    if options.corpora is None:
        left = [name for name, corpus in remote_corpora().items() if corpus.licence == UNLICENSED]
        print(f"not fetched, since their authors state no licence: {', '.join(left)}. Name them in --corpora to fetch them.")
    print(f"The corpora are in {out}")


if __name__ == "__main__":
    main()
