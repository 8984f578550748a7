"""What happens to every piece of raw text before it may enter a prompt or a completion."""

import html
import re
from unicodedata import category, is_normalized, normalize

# Markers that chat templates give a meaning to: <|im_end|>, the same with full-width bars, [INST], <<SYS>>, ... Those that
# look like a tag, such as </s>, <start_of_turn> or <file_sep>, are tags below.
_CONTROL_TOKENS = re.compile(
    r"<[|｜][^<>|｜]{0,40}[|｜]>|<</?SYS>>"
    r"|\[/?(?:INST|THINK|ARGS|CALL_ID|IMG|PREFIX|MIDDLE|SUFFIX|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT"
    r"|SYSTEM_PROMPT|g?MASK|CLS|SEP|PAD|UNK)\]",
    re.IGNORECASE,
)
# A tag begins with a letter straight after its bracket, so that "2 < 3 > 1" stays. Nothing reads across another "<", which
# would cost quadratic time; tags inside a comment go a pass before it.
_TAGS = re.compile(r"</?[a-z][\w:.-]*(?:\s[^<>]*)?/?>|<!--[^<]*?-->", re.IGNORECASE)
_OPENERS = re.compile(r"[<\[&]")
_SPACES = re.compile(r" +")

NO_LIMIT = 10**9
"""Words of a text that is not cut."""

_CP1252 = {ord(bytes([code]).decode("cp1252")): code for code in range(0x80, 0xA0) if code not in b"\x81\x8d\x8f\x90\x9d"}
_READ_AS_CP1252 = re.compile(f"[\u00c2-\u00f4][\u0080-\u00bf{''.join(map(chr, _CP1252))}]")
_MOST_SAVED = 3
"""Times that a text may have been saved so."""

_PASSES = 20
"""Nesting deeper than this is an attack or a dump: what could open one more level goes, since each costs a pass."""


def repaired(text: str) -> str:
    """The text as it was before its UTF-8 was read as cp1252 and saved again, as in `CafÃ©`; any other as it is."""
    for _ in range(_MOST_SAVED):
        if text.isascii() or not _READ_AS_CP1252.search(text):
            return text
        try:
            text = text.translate(_CP1252).encode("latin-1").decode()
        except UnicodeError:  # it is not all so
            return text
    return text


def clean(text: str, max_words: int) -> str:
    """One line of plain text of at most `max_words` words, cut with an ellipsis.

    Letters are composed (NFC), entities decoded, markup, control characters and chat templates' tokens removed. Cleaning twice
    changes nothing.
    """
    words = _plain(text).split(" ")
    return " ".join(words) if len(words) <= max_words else " ".join([*words[: max_words - 1], "…"])


def _plain(text: str) -> str:
    if text.isprintable() and not _OPENERS.search(text) and is_normalized("NFC", text):
        return _SPACES.sub(" ", text).strip()  # as most texts are: nothing to decode, to remove or to compose
    for turn in range(_PASSES):
        # Once is not enough: "&amp;lt;b&amp;gt;" and "<|im_<|x|>end|>" each hide a token behind another.
        smaller = html.unescape(text) if turn < _PASSES - 2 else _OPENERS.sub(" ", text)
        if not smaller.isprintable():
            # What cannot be seen goes without a gap, since a word or an address may hide behind it.
            smaller = "".join(char if char.isprintable() else "" if category(char) == "Cf" else " " for char in smaller)
        smaller = normalize("NFC", smaller)
        smaller = _SPACES.sub(" ", _TAGS.sub(" ", _CONTROL_TOKENS.sub(" ", smaller))).strip()
        if smaller == text:
            break
        text = smaller
    return text
