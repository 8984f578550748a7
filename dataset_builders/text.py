"""What happens to every piece of raw text before it may enter a prompt or a completion."""

import html
import re

# Markers that chat templates give a meaning to: <|im_end|>, <|eot_id|>, [INST], <<SYS>>, <s>, </s>, <bos>, <start_of_turn> ...
_CONTROL_TOKENS = re.compile(
    r"<\|[^<>|]{0,40}\|>|</?s>|\[/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT)\]|<</?SYS>>"
    r"|</?(?:bos|eos|pad|unk|mask|start_of_turn|end_of_turn|think|tool_call|tool_response)>",
    re.IGNORECASE,
)
# A tag begins with a letter straight after its bracket, so that "2 < 3 > 1" stays.
_TAGS = re.compile(r"<(?:br|/?p|/?li)\s*/?>|</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
_SPACES = re.compile(r"\s+")


def clean(text: str, max_words: int) -> str:
    """One line of plain text of at most `max_words` words, cut with an ellipsis.

    Entities are decoded, markup, control characters and chat templates' tokens removed. Cleaning twice changes nothing.
    """
    while True:
        # Once is not enough: "&amp;lt;b&amp;gt;" and "<|im_<|x|>end|>" each hide a token behind another.
        smaller = html.unescape(text)
        smaller = _TAGS.sub(" ", _CONTROL_TOKENS.sub(" ", smaller))
        smaller = "".join(char if char.isprintable() else " " for char in smaller)
        if smaller == text:
            break
        text = smaller
    words = _SPACES.sub(" ", text).strip().split(" ")
    return " ".join(words) if len(words) <= max_words else " ".join([*words[: max_words - 1], "…"])
