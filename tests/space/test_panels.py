"""The page's own HTML: nothing that comes from outside is anything but text in it."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from panels import Panel, alert, hint, panels, status, text
from reading import Line, Mark


class Reader(HTMLParser):
    """Tags with attributes in order, and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def full_panel(outside: str) -> str:
    read_as = (Line(outside, outside, note=outside, chosen=True, right=True), Line(outside))
    column = Panel("Base", outside, outside, outside, read_as, outside, Mark("wrong", outside), "ranking")
    return panels([column, Panel("Tuned", outside, outside, lines=(Line(outside),), shape="generation")])


NASTY = ["<script>alert(1)</script>", '" onmouseover="alert(1)', "</pre></section><img src=x onerror=alert(1)>", "&lt;b&gt;"]


@pytest.mark.parametrize("outside", NASTY)
def test_text_from_outside_makes_no_tag_and_no_event_handler(outside: str) -> None:
    reader = read(full_panel(outside))
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in read(full_panel("plain")).tags]
    assert not any(name.startswith("on") for _, attributes in reader.tags for name, _ in attributes)
    assert reader.words.count(outside) == full_panel("plain").count("plain")


@given(st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs", "Cc"])))
def test_escaped_text_reads_as_it_was_and_holds_no_markup_or_template_code(outside: str) -> None:
    assert read(text(outside)).words == outside
    assert not set("<>\"'{}$") & set(text(outside))


@pytest.mark.parametrize("piece", [alert, hint, lambda words: status(words, "failed")])
def test_messages_are_escaped(piece: object) -> None:
    assert "<img" not in piece("<img src=x>")  # type: ignore[operator]
