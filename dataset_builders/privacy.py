"""Keeps people's e-mail addresses and phone numbers out of the dataset: they are masked, and counted.

Where a phone number begins and ends is decided here, since product text is full of numbers that only look like one. Whether
such a number can exist is decided by libphonenumber (https://github.com/daviddrysdale/python-phonenumbers), which knows every
country's numbering plan.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

_Span = tuple[int, int]

_LOOKALIKES: dict[int, int | str] = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},  # full-width forms of ASCII
    **dict.fromkeys(map(ord, "‐‑‒–—―−ー"), "-"),
    ord("﹫"): "@",
}

# Whatever is masked passes these, so that most texts cost no more than these.
_MAY_HOLD_EMAIL = re.compile(r"[@＠﹫]|[(\[（［]\s?(?i:at|ａｔ)\s?[)\]）］]")
_MAY_HOLD_PHONE = re.compile(r"\d(?:[\Wー]{0,9}\d){6}")

_LETTERS = "A-Za-zÀ-ÖØ-öø-ɏ"
_LATIN = f"0-9{_LETTERS}"
_AT = r"(?:@|\s?[(\[]\s?(?i:at)\s?[)\]]\s?)"
_DOT = r"(?:\.|\s?[(\[]\s?(?i:dot)\s?[)\]]\s?)"
# A name is Latin, or ends in another script: in "連絡先はjane@mail.com" it is "jane". "4K@60Hz.Ready" is a quantity, and
# "recall@10.The" two sentences. The lengths are RFC 5321's; they also bound the time.
_EMAIL = re.compile(
    rf"(?:(?:[{_LATIN}_][{_LATIN}_.+%'-]{{0,62}})?[{_LATIN}_+-]|[\w.+%'-]{{0,63}}[^\W{_LATIN}_]){_AT}"
    r"(?!\d+(?:\.\d+)?(?:(?i:[kmg]?hz|fps|rpm|dpi|[mk]?[avw]|m?ah)\b|\.[A-Z][a-z]))"
    rf"(?:[^\W_](?:[\w-]{{0,61}}[^\W_])?{_DOT}){{1,126}}(?:(?i:xn--[a-z0-9-]{{1,59}}|[a-z]{{2,24}})|[^\W\d_{_LATIN}]{{2,24}})"
)

_SPACE = r"[^\S\r\n]"
_GAP = rf"(?:{_SPACE}?[-.]{_SPACE}?|{_SPACE})"
_EXTENSION = rf"(?:\s?(?i:x|ext\.?|extension|extensión|内線)\s?\d{{1,6}}(?![{_LATIN}]))?"
# How a number is written at home, by region. The Spanish "612 345 678" is left out, since models look so: "HP 950 951 952".
_NATIONAL = {
    region: re.compile(rf"(?<![{_LATIN}$€£¥])(?<!\d[-.])(?P<number>{form}){_EXTENSION}(?![{_LATIN}]|[-.]\d)")
    for region, form in {
        "US": rf"(?:1{_GAP}?)?(?:\(\d{{3}}\){_GAP}?\d{{3}}{_GAP}?\d{{4}}|\d{{3}}(?:{_GAP}|/)\d{{3}}{_GAP}\d{{4}})",
        "ES": rf"(?:\(\d{{2}}\)|\d{{2}}){_GAP}\d{{3}}{_GAP}\d{{2}}{_GAP}\d{{2}}|\d{{3}}(?:{_GAP}\d{{2}}){{3}}",
        "JP": rf"(?:\(0\d{{1,4}}\){_GAP}?|0\d{{1,4}}{_GAP})\d{{1,4}}{_GAP}\d{{4}}|0\d{{1,4}}\(\d{{1,4}}\)\d{{4}}"
        rf"|0(?:120|570|800){_GAP}\d{{3}}{_GAP}\d{{3}}",
    }.items()
}
_RUN = rf"\(?\d(?:[\d()./-]|{_SPACE}){{5,28}}\d"
_INTERNATIONAL = re.compile(
    rf"(?<![{_LATIN}])(?<!\d[-.])(?P<number>(?:\+|(?:00|011{_GAP})(?=\d{{1,3}}{_GAP}\d)){_RUN}){_EXTENSION}"
)
_DATE = r"(?:\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](?:19|20)\d\d)(?!\d)"
# The word stands right before the number: in "phone case 5325301871" it announces none.
_ANNOUNCED = re.compile(
    rf"(?i:(?<![{_LETTERS}])(?:call(?:ing)?|(?:tele)?phone|telf?|tlf|tfno|tel[eé]fono|m[oó]vil|mobile|fax|whats ?app|sms|text"
    rf"|contacto?|ll[aá]m(?:ar|e|a|ame|anos))|電話|携帯|[℡📞]|☎\ufe0f?|\[phone\])"
    r"(?i:[\s.:#,&/]|\b(?:me|us|now|at|on|is|or|and|no|number|al|el|o|y|es|n[uú]mero|toll[- ]free)\b|番号|は){0,12}"
    rf"(?!{_DATE})(?P<number>\+?{_RUN}){_EXTENSION}"
)


def mask(text: str) -> tuple[str, Counter[str]]:
    """The text with `[e-mail]` and `[phone]` in place of addresses and numbers, and how many of each kind there were.

    Masking twice changes nothing, and full-width or invisible characters hide nothing.

    E-mail: `name@host.tld` in any script, and `name (at) host (dot) tld`. Not `@handle`, nor quantities such as `4K@60Hz`.

    Phone: a number that libphonenumber finds valid, and that is written

    - with its country's code after `+`, `00` or `011`, for every country; or
    - in the groups that are usual in the United States, Spain or Japan, the locales of the corpora: `(212) 555-0123`,
      `1-800-555-0199`, `612 34 56 78`, `03-1234-5678`. Groups with nothing but spaces between must have no number beside
      them, which would make them a list of sizes or models; or
    - as a number of one of these three, in any groups or none, right after a word such as "call", "tel" or "電話".

    So a bare run of digits is a part number, an ISBN or a barcode unless a word announces it, and so is `612 345 678`. Never
    masked are numbers of seven digits without an area code, numbers spelt in letters (1-800-FLOWERS), and numbers of other
    countries without their code.
    """
    counts: Counter[str] = Counter()
    while True:
        text, emails = _masked(text, "[e-mail]", _emails) if _MAY_HOLD_EMAIL.search(text) else (text, 0)
        text, phones = _masked(text, "[phone]", _phones) if _MAY_HOLD_PHONE.search(text) else (text, 0)
        if not emails + phones:
            return text, counts
        # Another turn, since a mark announces what stands right behind it.
        counts += Counter({"e-mail": emails, "phone": phones})


def _masked(text: str, mark: str, find: Callable[[str], Iterable[_Span]]) -> tuple[str, int]:
    plain, places = _plain(text)
    spans = _merged(find(plain))
    for start, end in reversed(spans):
        text = text[: places[start]] + mark + text[places[end - 1] + 1 :]
    return text, len(spans)


def _plain(text: str) -> tuple[str, Sequence[int]]:
    """The text as a reader sees it, and where in `text` each of its characters stands."""
    if text.isascii():
        return text, range(len(text))
    invisible = "Cf"  # zero-width characters, soft hyphens, marks of direction
    places = [place for place, char in enumerate(text) if unicodedata.category(char) != invisible]
    return "".join(text[place] for place in places).translate(_LOOKALIKES), places


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _emails(text: str) -> Iterator[_Span]:
    return (match.span() for match in _EMAIL.finditer(text))


def _phones(text: str) -> Iterator[_Span]:
    for match in _INTERNATIONAL.finditer(text):
        yield from _valid_start(match, ("ES", "US"))  # there one dials 00 and 011
    for match in _ANNOUNCED.finditer(text):
        yield from _valid_start(match, _NATIONAL)
    for region, form in _NATIONAL.items():
        for match in form.finditer(text):
            if not _is_in_list(text, match) and _is_valid(match["number"], region):
                yield match.span()


def _is_in_list(text: str, match: re.Match[str]) -> bool:
    """Whether only spaces part the groups of a match's number, and the number from others."""
    if re.search(r"[-.(/]", match["number"]):
        return False
    return bool(re.search(rf"\d{_SPACE}$", text[: match.start()]) or re.match(rf"{_SPACE}\d", text[match.end() :]))


def _valid_start(match: re.Match[str], regions: Iterable[str]) -> Iterator[_Span]:
    """The longest part of a match's number that begins with it, ends with a group of digits, and is valid in a region."""
    start, number_end = match.span("number")
    for group in reversed(list(re.finditer(r"\d+", match["number"]))):
        if any(_is_valid(match["number"][: group.end()], region) for region in regions):
            end = start + group.end()
            yield start, match.end() if end == number_end else end
            return


def _is_valid(number: str, region: str) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False
