"""YAML as people mean it: the words and numbers of YAML 1.2, and no key twice.

PyYAML follows YAML 1.1, in which ``no`` is false, ``1e-3`` a word, ``010`` eight and ``1:30`` ninety. Underscores
within whole numbers (``1_000``) stay allowed.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

_RULES = {  # https://yaml.org/spec/1.2.2/#103-core-schema
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": (r"<<", "<"),
}


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for kind, (pattern, firsts) in _RULES.items():
        rule = (f"tag:yaml.org,2002:{kind}", re.compile(rf"(?:{pattern})\Z"))
        for first in firsts:
            resolvers.setdefault(first.replace("\0", ""), []).append(rule)
    return resolvers


class Loader(yaml.SafeLoader):
    """Plain data. A key given twice and a number that is not finite are errors."""

    yaml_implicit_resolvers = _resolvers()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            seen: set[Any] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                    continue
                made = self.construct_object(key)
                if made in seen:  # 1, 1.0 and true are one key to Python
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key '{key.value[:60]}' is given twice", key.start_mark
                    )
                seen.add(made)
        return super().construct_mapping(node, deep)

    def whole(self, node: yaml.ScalarNode) -> int:
        """A whole number; a leading 0 does not make it octal."""
        text = self.construct_scalar(node).replace("_", "")
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)

    def real(self, node: yaml.ScalarNode) -> float:
        """A finite number."""
        text = self.construct_scalar(node).replace("_", "")
        number = math.inf if text.lower().lstrip("+-") in (".inf", ".nan") else float(text)
        if not math.isfinite(number):
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value[:60]} is not a finite number", node.start_mark
            )
        return number


Loader.add_constructor("tag:yaml.org,2002:int", Loader.whole)
Loader.add_constructor("tag:yaml.org,2002:float", Loader.real)


class _Dumper(yaml.SafeDumper):
    """Quotes words that are none to ``Loader`` or to readers of YAML 1.1."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [*_resolvers().get(first, ()), *yaml.SafeDumper.yaml_implicit_resolvers.get(first, ())]
        for first in {*_resolvers(), *yaml.SafeDumper.yaml_implicit_resolvers}
    }


def dump(value: Any) -> str:
    """Plain data as YAML, which ``Loader`` and readers of YAML 1.1 take for the same."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def scalar(text: str) -> Any:
    """The number, true, false or null that a plain word of YAML says, else the word itself."""
    word = text.strip()
    loader = Loader("")
    try:
        tag = loader.resolve(yaml.ScalarNode, word, (True, False))
        return loader.construct_object(yaml.ScalarNode(tag, word)) if tag.rpartition(":")[2] != "merge" else word
    except (yaml.YAMLError, ValueError):
        return word
    finally:
        loader.dispose()
