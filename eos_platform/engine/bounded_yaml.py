"""How much a YAML text may become, settled while it is read.

Aliases that name lists of aliases make a billion values of nine lines, and a list may hold itself.
"""

from __future__ import annotations

from typing import Any

import yaml

CHARACTERS = 200_000  # of a text: a second or two of PyYAML's work
VALUES = 20_000  # aliases counted as often as they are used
DEEP = 40
DIGITS = 100  # of a number; beyond 4,300 Python cannot write it again
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class Bounded:
    """For a class of PyYAML's loaders to inherit first: nodes are counted before anything is made of them."""

    def __init__(self, text: str) -> None:
        if len(text) > CHARACTERS:
            raise _refusal(f"{len(text):,} characters are more than the {CHARACTERS:,} a study file may have", None)
        super().__init__(text)  # type: ignore[call-arg]
        self._sizes: dict[int, int] = {}  # values of each composed node, by its id
        self._kept: list[yaml.Node] = []  # so that no id is given twice
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        reader: Any = self
        event = reader.peek_event()
        self._depth += 1
        if self._depth > DEEP:
            raise _refusal(f"nested more than {DEEP} deep", event.start_mark)
        node: yaml.Node = super().compose_node(parent, index)  # type: ignore[misc]
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:  # not composed to its end yet
                raise _refusal(f"alias '{(event.anchor or '')[:40]}' is inside of what it names", event.start_mark)
        else:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(child)] for child in _children(node))
            self._kept.append(node)
        if self._sizes[id(node)] > VALUES:
            raise _refusal(f"more than {VALUES:,} values, aliases followed", event.start_mark)
        if node.tag in _NUMBERS and len(node.value) > DIGITS:
            raise _refusal(f"a number of {len(node.value):,} characters", event.start_mark)
        return node


def _refusal(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, problem, mark)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []
