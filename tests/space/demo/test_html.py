"""The page's own HTML: nothing that comes from outside is anything but text in it."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.tasks import FAMILIES
from space.demo.answer_view import AnswerLine, Grade
from space.demo.dataset_pages import ShownRow
from space.demo.evaluation_tab import tab as evaluation_tab
from space.demo.html import AnswerPanel, alert, escaped, hint, panel, panels, prompt_block, row_card, status_line


class TagReader(HTMLParser):
    """Tags with attributes in order, and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def read(html: str) -> TagReader:
    reader = TagReader()
    reader.feed(html)
    reader.close()
    return reader


def all_kinds(outside: str) -> str:
    """Every piece of the page with text from outside wherever it may stand."""
    read_as = (
        AnswerLine(outside, outside, note=outside, chosen=True, right=True, moved=1, probability=0.5),
        AnswerLine(outside, outside, chosen=True, right=False, probability=0.5),
        AnswerLine(outside, moved=-1),
    )
    columns = [
        AnswerPanel("Base", outside, family, read_as, outside, outside, outside, Grade("wrong", outside)) for family in FAMILIES
    ]
    line = {"task": outside, "metric": outside, "rows": {outside: 1}, "scores": {outside: 0.5}, "differences": {}}
    line |= {"intervals": {outside: [0.4, 0.6]}, "unparsable": {outside: 0.5}}
    scores = {"names": [outside], "baselines": [outside], "tasks": [line], "means": {outside: line}, "notes": [outside]}
    table = evaluation_tab(scores)
    return panels(columns) + row_card(1, outside, ShownRow(outside, outside, outside, outside)) + prompt_block(outside) + table


NASTY = ["<script>alert(1)</script>", '" onmouseover="alert(1)', "</pre></section><img src=x onerror=alert(1)>", "&lt;b&gt;"]


@pytest.mark.parametrize("outside", NASTY)
def test_text_from_outside_makes_no_tag_and_no_event_handler(outside: str) -> None:
    reader = read(all_kinds(outside))
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in read(all_kinds("plain")).tags]
    assert not any(name.startswith("on") for _, attributes in reader.tags for name, _ in attributes)
    assert reader.words.count(outside) == read(all_kinds("plain")).words.count("plain")


@given(st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs", "Cc"])))
def test_escaped_text_reads_as_it_was_and_holds_no_markup_or_template_code(outside: str) -> None:
    assert read(escaped(outside)).words == outside
    assert not set("<>\"'{}$") & set(escaped(outside))


@pytest.mark.parametrize("piece", [alert, hint, lambda words: status_line(words, "failed")])
def test_messages_are_escaped(piece: object) -> None:
    assert "<img" not in piece("<img src=x>")  # type: ignore[operator]


def test_a_movement_is_seen_and_spoken() -> None:
    shown = panel(
        AnswerPanel(
            "Tuned", "m", "ranking", (AnswerLine("hose", "3", chosen=True, moved=2), AnswerLine("pen", "1", moved=None))
        )
    )
    assert "▲2" in shown
    assert "was 3, up 2" in shown
    assert "not placed" in shown


def test_a_chance_is_a_bar_of_that_length_and_a_percentage() -> None:
    shown = panel(
        AnswerPanel(
            "Tuned", "m", "multiple_choice", (AnswerLine("yes", probability=0.4216), AnswerLine("no", probability=0.001))
        )
    )
    assert "--share: 0.4216" in shown
    assert "42 %" in shown
    assert "&lt;1 %" in shown


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (AnswerLine("a", chosen=True), "picked"),
        (AnswerLine("a", chosen=True, right=True), "right"),
        (AnswerLine("a", chosen=True, right=False), "wrong"),
        (AnswerLine("a", right=True), "missed"),
        (AnswerLine("a", chosen=True, note="not counted"), "not counted"),
    ],
)
def test_a_pick_says_what_it_is_in_words(line: AnswerLine, words: str) -> None:
    assert words in read(panel(AnswerPanel("Tuned", "m", "retrieval", (line,)))).words
