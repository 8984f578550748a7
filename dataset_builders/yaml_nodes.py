"""YAML with the line of every value, all scalars as they are written: `no` is a word here and `01` an id.

PyYAML's BaseLoader resolves no types, so that a value list may hold `no: irrelevant` or `2: exact`.
"""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError


@dataclass(frozen=True)
class YamlNode:
    """A value of a YAML document: text, a list of nodes, or nodes by key. `line` is that of its key, from 1."""

    value: "str | list[YamlNode] | dict[str, YamlNode]"
    line: int


_HINTS = (
    ("'\\t'", " Indent with spaces, not with tabs."),
    ("another document", " A map is one document: take out the line that is ---."),
    ("unexpected end of stream", " A quote is not closed."),
    ("stream end", " A bracket is not closed."),
    ("block mapping start", " What belongs together begins in the same column."),
    ("block sequence start", " What belongs together begins in the same column."),
    ("unknown escape", " Write a backslash twice, or put the text into single quotes."),
    ("", " A text with a colon, or one that begins with * & ! % @ `, needs quotes."),
)
"""What is in the words of PyYAML's error -> what to do. The first counts."""


def read_yaml(text: str, path: Path) -> YamlNode:
    """The document's root. Raises UserError, with the line, for what is not YAML, for keys given twice and for aliases."""
    import yaml

    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.BaseLoader)):
            raise UserError(f"{path} uses YAML aliases (*name). Write the values out.")
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        hint = next((hint for words, hint in _HINTS if error.problem and words in error.problem), "")
        raise UserError(f"{path}{place} is not YAML: {error.problem or error.context}.{hint}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {str(error).splitlines()[0]}.") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply.") from None
    if root is None:
        raise UserError(f"{path} is empty. Make a map with python -m dataset_builders.map.")
    return _node(root, root.start_mark.line + 1, path)


def _node(node: object, line: int, path: Path) -> YamlNode:
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return YamlNode(node.value, line)
    if isinstance(node, yaml.SequenceNode):
        return YamlNode([_node(item, item.start_mark.line + 1, path) for item in node.value], line)
    assert isinstance(node, yaml.MappingNode)
    values: dict[str, YamlNode] = {}
    for key, value in node.value:
        here = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise UserError(f"{path}, line {here}: a key must be a text.")
        if key.value in values:
            raise UserError(f"{path}, line {here}: {key.value} is there twice, also in line {values[key.value].line}.")
        values[key.value] = _node(value, here, path)
    return YamlNode(values, line)
