"""What the READMEs say of commands, files and each other, held against the code."""

import argparse
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # of commands that ran before

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for folder in (".", *(p.name for p in ROOT.iterdir() if (p / "README.md").is_file()), "docs/decisions")
    for path in (ROOT / folder).glob("*.md")
    if path.name not in ("template.md", "card.md", "annotations.md")
)
"""Pages of the repository; templates of pages that are published elsewhere have links of their own."""

COMMAND = re.compile(r"python -m ((?:dataset_builders|training|eval_tasks|model_card|space|release|benchmarks)[\w.]*)(.*)")
BY_FIELDS = ("training.sft", "training.grpo")
"""Commands whose options are the fields of TRL's classes, which tests of the recipes hold."""


class Parsed(Exception):
    """A command has come to its options."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def parser_of(module: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """The parser that the command takes these words with; of a command with parts, of the part."""

    def stop(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Parsed(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", stop)
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(Parsed) as parsed:
        runpy.run_module(module, run_name="__main__")
    parser: argparse.ArgumentParser = parsed.value.parser
    parts = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return parts[0][words[0]] if parts and words and words[0] in parts[0] else parser


def code(page: Path) -> Iterator[str]:
    """Lines of code on a page, in blocks and between backticks, with continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def documented() -> dict[tuple[str, str], set[str]]:
    """(module, its first word where that is no option) -> options that a page gives it."""
    found: dict[tuple[str, str], set[str]] = {}
    for page in (*PAGES, ROOT / "Makefile"):
        if page.name == "CHANGELOG.md":  # of earlier versions too
            continue
        lines = page.read_text(encoding="utf-8").replace("\\\n", " ").splitlines() if page.name == "Makefile" else code(page)
        for line in lines:
            for module, rest in COMMAND.findall(re.split(r"\s#\s", line)[0]):
                words = shlex.split(re.split(r"[;|&]|\)? \|\| | -- ", rest)[0].replace("'", "").replace('"', ""))
                part = words[0] if words and words[0].isalpha() and words[0].islower() else ""
                found.setdefault((module, part), set()).update(
                    word.split("=")[0] for word in words if re.fullmatch(r"--?[a-zA-Z][\w-]*(=.*)?", word)
                )
    return found


def commands() -> list[str]:
    """Modules that are run by `python -m` and read options."""
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for folder in ("dataset_builders", "training", "eval_tasks", "model_card", "space", "release", "benchmarks")
        for path in (ROOT / folder).glob("*.py")
        if "ArgumentParser(prog=" in (text := path.read_text(encoding="utf-8").replace("(\n        prog", "(prog"))
        and 'if __name__ == "__main__"' in text
    )


@pytest.mark.parametrize("module", commands())
def test_every_option_says_what_it_does_and_its_default(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = parser_of(module, [], monkeypatch)
    assert parser.prog.startswith("python -m ")
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        name = action.option_strings[0] if action.option_strings else action.dest
        assert action.help, f"{module} {name} has no help"
        if action.default not in (None, False, "", 0.0, []) or name == "--seed":
            assert "default" in action.help, f"{module} {name} does not say its default, {action.default!r}"


@pytest.mark.parametrize(("command", "options"), sorted(documented().items()))
def test_commands_on_the_pages_have_options_that_exist(
    command: tuple[str, str], options: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, part = command
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file() or (ROOT / module / "__main__.py").is_file()
    if options:
        known = parser_of(module, [part] * bool(part), monkeypatch)._option_string_actions
        assert options <= known.keys(), f"{module} has no {', '.join(sorted(options - known.keys()))}"


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, place = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if place:
            headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert place in map(anchor, headings), target


def test_modules_that_the_pages_name_are_there() -> None:
    files = {path.name for path in ROOT.rglob("*.py") if ".venv" not in str(path)}
    for page in PAGES:
        if page.name == "CHANGELOG.md":  # of earlier versions too
            continue
        for name in re.findall(r"`(?:[\w.]+/)*(\w+\.py)`", page.read_text(encoding="utf-8")):
            assert name in files, f"{page.name}: {name}"
