"""YAML as a study file uses it: plain data, no key twice, and one line for whatever cannot be read."""

from __future__ import annotations

from typing import Any

import yaml

from eos_platform import strict_yaml
from eos_platform.errors import EosError


class _Loader(strict_yaml.Loader):
    """Plain data; the last of two equal keys does not silently win."""


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
        reason = (
            f"no value for {error}"
            if isinstance(error, KeyError)
            else (str(error).strip() or "cannot be read").splitlines()[0]
        )
        raise EosError(f"{where}: not YAML: {reason}") from None


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "cannot be read"
    return f"{problem} (line {mark.line + 1})" if mark else str(problem)
