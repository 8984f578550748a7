"""Fetches raw corpora into a folder that `python -m dataset_builders.build --raw` then reads.

    python -m dataset_builders.download --out raw --dry-run
    python -m dataset_builders.download --out raw --corpora esci,ecinstruct
    python -m dataset_builders.download --out raw --corpora amazon_reviews_2018 --categories Gift_Cards,All_Beauty

A second run goes on where the first was broken off, and checks what is there instead of fetching it again. Where the authors
publish no checksum, the sha256 of the first download is kept in the folder's `checksums.json` and holds from then on. The
addresses are the authors' own as they publish them; they could not be reached when this was written (see `addresses.py`).
"""

import argparse
import glob
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from common.errors import UserError, plain_errors
from common.files import readable_size, sha256_of
from dataset_builders.addresses import MERREC_FILES, UNLICENSED, Corpus, RemoteFile, corpora, hub_files, hub_read_errors
from dataset_builders.fetch import disk_errors, fetch, new_client, require_room, retried, shown, unsound
from dataset_builders.staging import SAMPLE_MARKER

CHECKSUMS = "checksums.json"
"""Path below the output folder -> sha256, of every file that was fetched or found there."""


@dataclass(frozen=True)
class Download:
    """A file that is whole in its place; `size` in bytes, `fetched` False where it was there already."""

    path: str
    licence: str
    size: int
    sha256: str
    fetched: bool


def choose(names: str | None, categories: str, merrec_files: str) -> list[Corpus]:
    """The corpora to fetch; by default those whose authors state a licence. Raises UserError for a name that there is not."""
    if not _split(categories):
        raise UserError("--categories names none; give at least one, such as Gift_Cards.")
    known = corpora(_split(categories), merrec_files)
    if names is None:
        return [corpus for corpus in known.values() if corpus.licence != UNLICENSED]
    if (unknown := [name for name in _split(names) if name not in known]) or not _split(names):
        raise UserError(f"--corpora knows no {', '.join(unknown) or 'empty list'}. The corpora are {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(_split(names))]


def download(corpus: Corpus, out: Path, mirror: str | None = None, revision: str | None = None) -> Iterator[Download]:
    """Brings the corpus's files below `out`, each as soon as it is whole, and keeps their checksums there.

    mirror: address of a folder laid out as `out` is, asked in place of the authors' addresses; not for Hub repositories.
    revision: branch, tag or commit of the Hub repository.
    Raises UserError with what to do; what came until then is kept.
    """
    checksums = read_checksums(out)
    done = _from_hub(corpus, out, checksums, revision) if corpus.repo_id else _from_addresses(corpus, out, checksums, mirror)
    for each in done:
        if checksums.get(each.path) != each.sha256:
            checksums[each.path] = each.sha256
            write_checksums(out, checksums)
        yield each


def _from_addresses(corpus: Corpus, out: Path, checksums: dict[str, str], mirror: str | None) -> Iterator[Download]:
    with new_client() as client:
        for file in corpus.files:
            path, expected = out / file.path, file.sha256 or checksums.get(file.path)
            digest = sha256_of(path) if path.is_file() else None
            whole = digest is not None and (digest == expected if expected else not unsound(path, path.name))
            if digest is None or not whole:
                url = f"{mirror.rstrip('/')}/{file.path}" if mirror else file.url
                if digest:
                    _say_again(file)
                by_hand = f"see {corpus.page}, put the file at {path} yourself, or give a --mirror that has it."
                if not file.sha256 and expected:
                    by_hand += f" If its authors have replaced it, take its line out of {out / CHECKSUMS}."
                digest = fetch(client, url, path, size=file.size, sha256=expected, by_hand=by_hand)
            yield Download(file.path, corpus.licence, path.stat().st_size, digest, fetched=not whole)


def _from_hub(corpus: Corpus, out: Path, checksums: dict[str, str], revision: str | None) -> Iterator[Download]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import is_offline_mode

    repo_id = corpus.repo_id or ""
    if is_offline_mode():
        yield from _kept(corpus, out, checksums)
        return
    commit, files = hub_files(corpus, revision)
    absent = [file for file in files if not _is_whole(out / file.path, file)]
    if absent:
        require_room(out, sum(file.size or 0 for file in absent))
        print(f"{corpus.name}: fetching {len(absent)} files, {readable_size(sum(file.size or 0 for file in absent))}")
        for file in absent:
            if (out / file.path).exists():  # huggingface_hub would take a damaged file for the whole one that it once was
                _say_again(file)
                (out / file.path).unlink()
        names = [glob.escape(file.path.removeprefix(f"{corpus.name}/")) for file in absent]
        with hub_read_errors(repo_id), disk_errors(out):
            retried(
                lambda: snapshot_download(
                    repo_id,
                    repo_type="dataset",
                    revision=commit,
                    local_dir=out / corpus.name,
                    allow_patterns=names,
                ),
                lambda: 0,
            )
    for file in files:
        path = out / file.path
        if file in absent and not _is_whole(path, file):
            path.unlink(missing_ok=True)
            raise UserError(f"what the Hub sent for {file.path} is not what it lists; it was deleted. Run the command again.")
        yield Download(file.path, corpus.licence, path.stat().st_size, file.sha256 or sha256_of(path), fetched=file in absent)


def _kept(corpus: Corpus, out: Path, checksums: dict[str, str]) -> Iterator[Download]:
    """What an earlier run fetched, for one that must not ask the Hub."""
    paths = [path for path in sorted(checksums) if fnmatchcase(path, f"{corpus.name}/{corpus.pattern}")]
    if not paths:
        raise UserError(f"offline mode is on and {out} holds no {corpus.name} yet; unset HF_HUB_OFFLINE to fetch it.")
    for name in paths:
        path = out / name
        if not path.is_file() or sha256_of(path) != checksums[name]:
            raise UserError(f"offline mode is on and {path} is missing or damaged; unset HF_HUB_OFFLINE to fetch it again.")
        yield Download(name, corpus.licence, path.stat().st_size, checksums[name], fetched=False)


def _say_again(file: RemoteFile) -> None:
    print(f"{file.path} is there, but damaged or another version: fetching it again", file=sys.stderr)


def _is_whole(path: Path, file: RemoteFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if file.sha256:
        return sha256_of(path) == file.sha256
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == file.git_oid


def read_checksums(out: Path) -> dict[str, str]:
    """Path -> sha256 as an earlier run left it; empty without one. Raises UserError where it is not such a file."""
    path = out / CHECKSUMS
    try:
        checksums = json.loads(path.read_bytes()) if path.exists() else {}
    except ValueError:
        checksums = None
    if not isinstance(checksums, dict) or not all(isinstance(value, str) for value in checksums.values()):
        raise UserError(f"{path} is not what this command writes; mend it, or delete it to take the files as they are.")
    return checksums


def write_checksums(out: Path, checksums: dict[str, str]) -> None:
    new = out / f".{CHECKSUMS}.new"
    new.write_text(json.dumps(checksums, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    new.replace(out / CHECKSUMS)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Makes the folder and keeps other downloads into it waiting until the block ends, or the process does."""
    from filelock import FileLock, Timeout

    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        if (out / SAMPLE_MARKER).exists():
            raise UserError(f"{out} holds sample corpora, whose rows are marked as such. Give another --out.")
        lock = FileLock(out / ".download.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            print(f"another download into {out} is running; waiting for it to end", file=sys.stderr)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def list_files(corpus: Corpus, out: Path, mirror: str | None, revision: str | None) -> Iterator[str]:
    """Lines that say what would be fetched. Asks the Hub for its list, and no other server."""
    files = hub_files(corpus, revision)[1] if corpus.repo_id else corpus.files
    size = readable_size(sum(file.size or 0 for file in files)) if all(file.size for file in files) else "size not published"
    yield f"{corpus.name}: {len(files)} files, {size}, licence: {corpus.licence}"
    for file in files:
        there = (out / file.path).is_file() and file.size in (None, (out / file.path).stat().st_size)
        address = f"{mirror.rstrip('/')}/{file.path}" if mirror and not corpus.repo_id else file.url
        size = readable_size(file.size) if file.size else "size not published"
        yield f"  {file.path}  {size}  {'already there' if there else 'from ' + shown(address)}"


def show(downloads: Sequence[Download]) -> None:
    """Prints a table of the files."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("file", overflow="fold")
    for name in ("MB", "licence", "sha256", "state"):
        table.add_column(name)
    for each in downloads:
        state = "fetched" if each.fetched else "already there"
        table.add_row(each.path, f"{each.size / 1e6:,.1f}", each.licence, each.sha256[:12], state)
    table.add_section()
    table.add_row(f"all {len(downloads)} files", f"{sum(each.size for each in downloads) / 1e6:,.1f}")
    Console(markup=False).print(table)


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dataset_builders.download", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    known = corpora()
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the raw corpora; others in it stay")
    parser.add_argument("--corpora", metavar="A,B", help=f"of {', '.join(known)} (default: those with a stated licence)")
    parser.add_argument(
        "--categories", default="Gift_Cards", metavar="A,B", help="of Amazon Review Data (default: %(default)s, a small one)"
    )
    parser.add_argument(
        "--merrec-files",
        default=MERREC_FILES,
        metavar="GLOB",
        help="of MerRec's repository, which is large (default: %(default)s)",
    )
    parser.add_argument("--mirror", metavar="URL", help="web folder laid out as --out is, in place of the authors' addresses")
    parser.add_argument("--revision", help="branch, tag or commit of the Hub repositories (default: main)")
    parser.add_argument("--dry-run", action="store_true", help="list what would be fetched; fetch nothing")
    options = parser.parse_args(arguments)
    with plain_errors():
        chosen = choose(options.corpora, options.categories, options.merrec_files)
        if options.mirror and not options.mirror.startswith(("https://", "http://")):
            raise UserError(f"--mirror {options.mirror} is no web address; begin it with https://")
        for corpus in chosen:
            if corpus.licence == UNLICENSED:
                print(f"{corpus.name}: its authors state no licence; read {corpus.page} before you use or share it.")
            if corpus.by_hand:
                print(f"{corpus.name}: {corpus.by_hand}.")
        if options.dry_run:
            for corpus in chosen:
                print(*list_files(corpus, options.out, options.mirror, options.revision), sep="\n")
            return
        with alone(options.out):
            done = [each for corpus in chosen for each in download(corpus, options.out, options.mirror, options.revision)]
        show(done)
        if options.corpora is None:
            left = [name for name, corpus in known.items() if corpus.licence == UNLICENSED]
            print(
                f"not fetched, since their authors state no licence: {', '.join(left)}. Name them in --corpora to fetch them."
            )
        print(f"The corpora are in {options.out}")


if __name__ == "__main__":
    main()
