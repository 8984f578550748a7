"""Values as Markdown: hostile text stays in its cell, figures read well."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from model_card import markdown

HOSTILE = [
    "a | b",
    "`code` and ``more``",
    "{{ config }} {% raw %} {x}",
    "<script>alert(1)</script>",
    "line\none\r\n\n# two",
    "![image](x.png) [link](javascript:alert(1))",
    "__bold__ *it* ~~gone~~ _a_ snake_case_name",
    "--- yaml: [broken",
    "ends in a backslash \\",
    "$$x^2$$ &lt;b&gt;",
]


def rendered_cells(source: str) -> list[str]:
    """Text of the cells in the second row, as a reader sees it; fails if a cell holds anything but text."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    cells = [token for token in tokens if token.type == "inline"]
    kinds = {child.type for cell in cells for child in cell.children}
    assert kinds <= {"text", "text_special", "softbreak"}, kinds
    return ["".join(child.content for child in cell.children) for cell in cells[2:]]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_shows_as_it_stands(text):
    shown = rendered_cells(markdown.table(["a", "b"], [[markdown.plain(text), "end"]]))
    assert shown == [" ".join(text.split()), "end"]


@given(st.text(alphabet=st.sampled_from("ab1 |`*_{}[]()<>#~$&\\!-\n\t:;\"'"), max_size=60))
def test_no_text_leaves_its_cell(text):
    shown = rendered_cells(markdown.table(["a", "b"], [[f"x{markdown.plain(text)}x", "end"]]))
    assert shown == [f"x{' '.join(text.split())}x", "end"]


@given(st.text(max_size=300))
def test_any_text_is_one_line_that_can_be_encoded(text):
    shown = markdown.plain(text)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")


@pytest.mark.parametrize(
    "text",
    ["/home/jane/models/x", "at /srv/data/x.json, ok", "~/models/x", "C:\\Users\\jane\\x", "file:///tmp/a/b", "x=/opt/a/b"],
)
def test_a_machines_paths_are_left_out(text):
    shown = markdown.plain(text)
    assert "(local path)" in shown
    assert not any(part in shown for part in ("jane", "/srv", "models", "/tmp", "/opt"))


@pytest.mark.parametrize("text", ["org/name", "https://huggingface.co/org/name", "and/or", "7 / 8 / 9", "5 w/ case"])
def test_what_is_no_path_stays(text):
    assert markdown.plain(text) == text


@given(st.text(max_size=80))
def test_an_identifier_is_code_that_nothing_ends_early(text):
    shown = markdown.identifier(text)
    assert shown == markdown.MISSING or (shown.count("`") == 2 and "|" not in shown and "\n" not in shown)


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (markdown.count(1234567), "1,234,567"),
        (markdown.count(None), "not measured"),
        (markdown.count(float("nan")), "not measured"),
        (markdown.count("12"), "not measured"),
        (markdown.count(True), "not measured"),
        (markdown.figure(0.0002), "0.0002"),
        (markdown.figure(1313.42, "tokens/s"), "1313 tokens/s"),
        (markdown.size(512), "512 bytes"),
        (markdown.size(1_500_000_000), "1.5 GB"),
        (markdown.size(2.5e15), "2.5e+03 TB"),
        (markdown.duration(0), "0 s"),
        (markdown.duration(7.25), "7.2 s"),
        (markdown.duration(75.2), "1 min 15 s"),
        (markdown.duration(3600), "1 h"),
        (markdown.duration(None), "not measured"),
        (markdown.listed([]), ""),
        (markdown.listed(["a"]), "a"),
        (markdown.listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_figures_read_well(shown, wanted):
    assert shown == wanted
