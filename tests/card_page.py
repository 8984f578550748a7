"""A card as the Hub's page shows it, near enough to measure: tables and code scroll by themselves, pictures shrink."""

import re
from pathlib import Path
from typing import Any

CSS = """
:root { color-scheme: light dark; --ink: #1f2328; --ground: #fff; --rule: #d1d9e0; --plate: #f6f8fa }
@media (prefers-color-scheme: dark) { :root { --ink: #f0f6fc; --ground: #0d1117; --rule: #3d444d; --plate: #151b23 } }
body { margin: 0; color: var(--ink); background: var(--ground); font: 16px/1.5 'DejaVu Sans', sans-serif }
main { max-width: 800px; margin: auto; padding: 16px; overflow-wrap: break-word }
img { max-width: 100%; height: auto }
table { display: block; width: max-content; max-width: 100%; overflow: auto; border-collapse: collapse }
th, td { padding: 6px 13px; border: 1px solid var(--rule) }
sub { font-size: 75%; line-height: 0 }
pre { padding: 16px; overflow: auto; background: var(--plate) }
code { font-size: 85% }
blockquote { margin: 0; padding: 0 1em; border-left: .25em solid var(--rule) }
"""

MEASURED = """() => ({
    page: document.documentElement.scrollWidth,
    tables: [...document.querySelectorAll('table')].map(one => [one.scrollWidth - one.clientWidth, one.innerText.slice(0, 40)]),
    pictures: [...document.querySelectorAll('img')].map(one => [one.naturalWidth, one.clientWidth]),
    headings: [...document.querySelectorAll('h2')].map(one => one.innerText),
})"""


def write_page(card: Path) -> Path:
    """An HTML file beside the card, so that its pictures are found."""
    from markdown_it import MarkdownIt

    body = re.sub(r"\A---\n.*?\n---\n", "", card.read_text(encoding="utf-8"), flags=re.DOTALL)
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(body)
    page = card.with_suffix(".html")
    head = f'<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{CSS}</style>'
    page.write_text(f"{head}<main>{html}</main>", encoding="utf-8")
    return page


def look(browser: Any, page: Path, width: int, picture: Path, dark: bool = False) -> dict[str, Any]:
    """Measures of the page in a window of this width, and a picture of all of it for a person's eye."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light")
    try:
        tab = context.new_page()
        tab.goto(page.as_uri())
        measured: dict[str, Any] = tab.evaluate(MEASURED)
        tab.screenshot(path=picture, full_page=True)
        return measured
    finally:
        context.close()
