"""YAML as a study file uses it: plain data, no key twice, and one line for whatever cannot be read."""

from __future__ import annotations

from typing import Any

import yaml

from eos_platform.common import strict_yaml
from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError, shown
from eos_platform.common.printable import printable
from eos_platform.engine.schema.bounded_yaml import Bounded


class _Loader(Bounded, strict_yaml.Loader):
    """Plain data of a bounded size; the last of two equal keys does not silently win."""


def parse(text: str, where: str) -> Any:
    """The data that ``text`` says.

    Raises:
        EosError: ``where``: not YAML, and why.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise EosError(f"{where}: not YAML: {_place(error)}") from None
    except RecursionError:
        raise EosError(f"{where}: not YAML: nested too deeply") from None
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
        # PyYAML lets the conversions of dates, numbers and tagged values fail as they will
        if isinstance(error, KeyError) and error.args:
            reason = f"no value for {shown(error.args[0])}"
        else:
            reason = error_text(error) if isinstance(error, ValueError) else "a value that its tag cannot have"
        raise EosError(f"{where}: not YAML: {reason}") from None


def _place(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"a character that no text has (position {error.position})"
    mark = getattr(error, "problem_mark", None)
    problem = printable(str(getattr(error, "problem", None) or "cannot be read")[:200])
    return f"{problem} (line {mark.line + 1})" if mark else problem
