"""report.html: what is in it, that text stays text, and how it behaves in a browser."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eval_tasks.report import main
from eval_tasks.reporting.examples import draw
from eval_tasks.reporting.page import render
from tests.eval_tasks.runs import BASELINE, Said, report_of, said, write_run

HOSTILE = (
    "<script>document.title='owned'</script>",
    "</script><img src=x onerror=\"document.title='owned'\">",
    "<!--<script>",
    "${document.title='owned'} {{ 7 * 7 }} &lt;b&gt; &amp; 'quotes\"",
    "\u202egnp.egami \u05d0\u05d1\u05d2 \u0645\u0635\u0628\u0627\u062d",
    "bell \x07 escape \x1b[31m null \x00 line \u2028 separator",
    "https://example.com/x.png ![](https://example.com/y.png)",
    "\U0001f4a1 \u771f\u936e <b>bold</b>",
)
PICTURE = b"\x89PNG"
LONG = "word " * 20_000 + "the end"


def page_of(*folders: Path, limit: int = 2000) -> str:
    report = report_of(*folders)
    return render(report, draw(report, limit, 0), 0, PICTURE).decode()


def data_of(page: str) -> Any:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def test_every_figure_is_in_the_table_with_how_sure_it_is(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", {"shop:answerability": said(*([0.0] * 20 + [1.0] * 20), unparsable=True)})
    tuned = write_run(tmp_path / "tuned", {"shop:answerability": said(*([1.0] * 30 + [0.0] * 10))})
    chance = write_run(tmp_path / "chance", {"shop:answerability": said(*([0.0, 1.0] * 20))}, **BASELINE)

    page = page_of(base, tuned, chance)

    table = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page[page.index("<table") : page.index("</table>")]))
    assert "Can the reviews answer it? accuracy, 40 rows" in table
    assert re.search(
        r"0\.500 0\.3\d to 0\.6\d 100% unreadable 0\.750 0\.6\d to 0\.8\d \+0\.250 -0\.\d\d to \+0\.\d\d p = 0\.\d{3}", table
    )
    assert "baseline chance" in table
    assert "all tasks" in table


def test_hostile_text_is_data_and_never_markup(tmp_path: Path) -> None:
    name = "<b>&\"'</b>"
    rows = [Said(f"{text} {number}", text, 0.0, text, specific={"answer": "1"}) for number, text in enumerate(HOSTILE)]
    folder = write_run(tmp_path / "run", {"shop:query_generation": rows}, model="org/<i>x</i>")
    report = report_of(folder)
    named = report_of(folder).models[0].__class__(name, report.models[0].run, report.models[0].answers)
    page = render(type(report)((named,), report.groups, report.means, report.mean), draw(report, 10, 0), 0, PICTURE).decode()

    examples = data_of(page)["examples"]
    assert [(prompt, gold, answer[0]) for _, _, prompt, gold, (answer,) in examples] == [
        (f"{text} {number}", text, text) for number, text in enumerate(HOSTILE)
    ]
    outside = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert page.count("<script") == page.count("</script>") == 2
    assert "&lt;b&gt;&amp;&#34;&#39;&lt;/b&gt;" in outside
    assert "<i>x" not in page
    assert "{{" not in outside


def test_nothing_is_fetched_and_only_the_pages_own_script_may_run(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", {"shop:answerability": said(1.0)}))

    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert re.findall(r'(?:src|href)="([^"#][^"]*)"', page) == ["data:,", "data:image/png;base64,iVBORw=="]
    assert "url(" not in page


def test_a_page_without_answers_says_what_to_pass(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", {"shop:answerability": said(1.0)}, details=False))

    assert "These runs kept no answers: evaluate with --save-details." in page
    assert data_of(page)["examples"] == []


def test_the_rows_that_are_left_out_are_told(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", {"shop:answerability": said(*([1.0] * 30))}), limit=10)

    assert "10 of 30 rows, drawn evenly over the tasks with seed 0; 20 are left out" in page
    assert len(data_of(page)["examples"]) == 10


@pytest.fixture
def full_evaluation(tmp_path: Path) -> list[Path]:
    """Results of three models, each with 11,000 rows."""
    tasks = ["answerability", "also_buy", "next_query", "query_generation", "review_rating"]
    prompt = "A customer of an online shop did the following, in this order. " * 20  # 1,280 characters
    return [
        write_run(
            tmp_path / name,
            {
                f"shop:{task}": [
                    Said(f"{prompt}{number}", f"{name} {number}", (number + shift) % 4 / 3) for number in range(2200)
                ]
                for task in tasks
            },
        )
        for shift, name in enumerate(("base", "tuned", "other"))
    ]


def test_rows_of_a_full_evaluation_fit_a_page_that_opens(full_evaluation: list[Path], tmp_path: Path) -> None:
    start = time.process_time()

    main([*(argument for folder in full_evaluation for argument in ("--results", str(folder))), "--out", str(tmp_path / "out")])

    # 11,000 rows of three models, of which 2,000 are shown; seconds are those of a slow core with room to spare.
    assert (tmp_path / "out" / "report.html").stat().st_size < 4_000_000
    assert time.process_time() - start < 60


# --- In a browser ---


@dataclass(frozen=True)
class Opened:
    """The page in a browser, and what it asked for or complained of."""

    page: Any
    requests: list[str]
    complaints: list[str]

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def wait_for(self, selector: str, text: str) -> None:
        """Until the element has the text. (Waiting for a function would be stopped by the page's policy.)"""
        self.page.locator(selector, has_text=text).wait_for()

    def choose(self, kind: str) -> None:
        self.page.check(f"#kinds input[value={kind}]", force=True)
        # The page shows the rows when the event is through, by a timer that runs before this later one.
        self.page.evaluate("new Promise((done) => setTimeout(done))")


def open_page(browser: Any, path: Path, **settings: Any) -> Opened:
    page = browser.new_page(**({"viewport": {"width": 1280, "height": 900}} | settings))
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    return Opened(page, requests, complaints)


@pytest.fixture(scope="module")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and a baseline: 25 rows that the tuned model gains, 3 that it loses, 2 that both miss, and hostile ones."""
    folder = tmp_path_factory.mktemp("report_page")
    values = {
        "base": [0.0] * 25 + [1.0] * 3 + [0.0] * 2,
        "tuned": [1.0] * 25 + [0.0] * 5,
        "random": [0.0] * 30,
    }
    for name, of_rows in values.items():
        wrong = "maybe" if name == "base" else "no"
        rows = [
            Said(f"question {number}", "yes" if value else wrong, value, "yes", unparsable=not value and name == "base")
            for number, value in enumerate(of_rows)
        ]
        texts = [*HOSTILE, LONG]
        hostile = [Said(text, f"{text} of {name}", float(name == "tuned"), text) for text in texts]
        tasks = {"shop:answerability": rows, "shop:query_generation": hostile}
        write_run(folder / name, tasks, model=f"org/{name}", **(BASELINE if name == "random" else {}))
    main([*(argument for name in values for argument in ("--results", str(folder / name))), "--out", str(folder)])
    return folder / "report.html"


@pytest.fixture
def opened(browser: Any, report_page: Path) -> Iterator[Opened]:
    found = open_page(browser, report_page)
    yield found
    assert found.requests == [report_page.as_uri()], "the page asks for nothing but itself"
    assert found.complaints == []
    assert found.page.title() == "tuned beside base"
    found.page.close()


def test_rows_are_filtered_by_what_became_of_them(opened: Opened) -> None:
    opened.page.select_option("select[name=task]", "shop:answerability")
    counts = {}
    for kind in ("differ", "better", "worse", "wrong", "unreadable", "all"):
        opened.choose(kind)
        counts[kind] = (opened.text(f"#count-{kind}"), opened.text("#found"))

    assert {kind: count for kind, (count, _) in counts.items()} == {
        "differ": "30",  # base is unreadable in two rows where both are wrong
        "better": "25",
        "worse": "3",
        "wrong": "2",
        "unreadable": "27",
        "all": "30",
    }
    assert counts["worse"][1] == "Rows 1 to 3 of 3, the largest difference first"
    opened.choose("worse")
    assert opened.page.locator(".case").count() == 3
    assert opened.text(".case:first-child .gain") == "-1.000"
    assert opened.text(".case:first-child .answer.m0 pre") == "yes"
    opened.choose("unreadable")
    assert opened.text(".case:first-child .answer.m0 .tag") == "unreadable"


def test_other_models_can_be_compared(opened: Opened) -> None:
    opened.page.select_option("select[name=task]", "shop:answerability")
    opened.page.select_option("select[name=first]", label="tuned")
    opened.page.select_option("select[name=second]", label="random")
    opened.choose("worse")

    assert "random is worse 25" in opened.text("#kinds").replace("\n", " ")
    assert opened.page.locator(".case:first-child .answer .name").all_inner_texts() == ["tuned", "random", "base"]


def test_a_search_finds_prompts_and_answers_and_marks_what_it_found(opened: Opened) -> None:
    opened.choose("all")
    opened.page.fill("input[name=text]", "QUESTION 17")
    opened.wait_for("#found", "Rows 1 to 1 of 1,")

    assert opened.text("mark") == "question 17"
    opened.page.fill("input[name=text]", "nowhere to be found")
    opened.wait_for("#found", "No rows.")


def test_pages_are_turned_with_the_keyboard(opened: Opened) -> None:
    opened.choose("better")
    assert opened.text("#page") == "1 of 4"
    opened.page.focus("#next")
    opened.page.keyboard.press("Enter")

    assert opened.text("#found").startswith("Rows 11 to 20 of 34")
    assert opened.page.evaluate("document.activeElement.id") == "found"
    opened.page.focus("#kinds input:checked")
    opened.page.keyboard.press("ArrowRight")
    opened.wait_for("#found", "Rows 1 to 3 of 3")


def test_a_task_in_the_table_leads_to_its_rows(opened: Opened) -> None:
    opened.page.click("table a >> text=Can the reviews answer it?")
    opened.wait_for("#count-all", "30")

    assert opened.page.input_value("select[name=task]") == "shop:answerability"


def test_hostile_text_is_shown_as_text(opened: Opened) -> None:
    opened.page.select_option("select[name=task]", "shop:query_generation")
    opened.choose("all")

    prompts = opened.page.locator(".case .part:first-child pre").all_inner_texts()
    assert HOSTILE[0] in prompts
    assert HOSTILE[1] in prompts
    assert HOSTILE[3] in prompts
    assert any("U+0007" in prompt and "U+001B" in prompt and "U+0000" in prompt for prompt in prompts)
    assert any("U+202E" in prompt for prompt in prompts)
    assert any("characters left out" in prompt and prompt.endswith("the end") for prompt in prompts)
    assert opened.page.locator("#list img, #list script, #list b:not(.read), #list a").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(scheme: str, browser: Any, report_page: Path, screenshots: Path) -> None:
    found = open_page(browser, report_page, viewport={"width": 360, "height": 800}, color_scheme=scheme)

    assert found.page.evaluate("document.documentElement.scrollWidth") <= 360
    paper, ink = found.page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    assert (brightness(paper) > brightness(ink)) == (scheme == "light")
    assert found.complaints == []
    found.page.screenshot(path=screenshots / f"report-phone-{scheme}.png")
    found.page.close()


def brightness(colour: str) -> int:
    return sum(map(int, re.findall(r"\d+", colour)[:3]))


@pytest.mark.parametrize("count", [1, 2, 8])
def test_one_model_and_many_have_their_rows_and_columns(count: int, browser: Any, tmp_path: Path, screenshots: Path) -> None:
    tasks = {"shop:answerability": said(0.0, 1.0, 1.0), "shop:also_buy": said(0.5, 0.0)}
    folders = [write_run(tmp_path / f"a-rather-long-name-{number}", tasks) for number in range(count)]
    main([*(argument for folder in folders for argument in ("--results", str(folder))), "--out", str(tmp_path)])

    found = open_page(browser, tmp_path / "report.html")

    assert found.page.locator("thead th").count() == 1 + count
    found.choose("all")
    assert found.page.locator(".case").count() == 5
    assert found.page.locator(".case:first-child .answer").count() == count
    assert found.page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert found.complaints == []
    found.page.screenshot(path=screenshots / f"report-{count}.png", full_page=True)
    found.page.close()
