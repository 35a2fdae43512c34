"""Models by their names on the Hub, downloaded once and kept where transformers keeps them.

``OWNER/NAME`` is the latest version, ``OWNER/NAME@REVISION`` that of a branch, a tag or a commit. Whose token it is,
where the cache lies and whether the network may be asked (``HF_TOKEN``, ``HF_HOME``, ``HF_HUB_OFFLINE``) is as usual.
Python that comes along lies there and is not run (``pretrained.py``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError

NAME = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(@(?P<revision>[\w./-]{1,200}))?", re.ASCII
)
FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.py")
TOKEN = "a token may be needed: HF_TOKEN, or 'hf auth login'"


def at_revision(model: str, revision: str | None) -> str:
    """The name of a model on the Hub at a revision.

    Raises:
        EosError: a revision of something else.
    """
    if revision is None:
        return model
    found = NAME.fullmatch(f"{model}@{revision}")
    if found is None or Path(model).exists():
        raise EosError(f"--revision {revision}: goes with a name on the Hub (OWNER/NAME), not with '{model}'")
    return f"{model}@{revision}"


def downloaded(model: str, files: Sequence[str] = FILES) -> Path | None:
    """The folder of a model that is named as on the Hub, downloaded if need be; None: it is no such name.

    Args:
        model: its name, perhaps with a revision.
        files: patterns of those that are wanted.

    Raises:
        EosError: it cannot be had, and why.
    """
    found = NAME.fullmatch(model)
    if found is None:
        return None
    from huggingface_hub import snapshot_download

    name, revision = found["name"], found["revision"]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(files)))
    except Exception as error:  # of several libraries' kinds: what they are called is all that is known of some
        raise EosError(f"model '{model}' is no folder here, and {_why(error, name, revision)}") from None


def _why(error: Exception, name: str, revision: str | None) -> str:
    """In a few words."""
    from huggingface_hub import constants, errors

    kinds: list[tuple[Any, str]] = [
        (errors.GatedRepoError, f"the Hub gives it to those who agreed at https://huggingface.co/{name}; {TOKEN}"),
        (errors.RevisionNotFoundError, f"'{name}' has no revision '{revision}' on the Hub"),
        (errors.RepositoryNotFoundError, f"the Hub shows no model of that name; where it is private, {TOKEN}"),
    ]
    for kind, words in kinds:
        if isinstance(error, kind):
            return words
    if not isinstance(error, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError)):
        return f"the Hub does not give it: {error_text(error)}"
    cache = constants.HF_HUB_CACHE
    if constants.is_offline_mode():
        return f"not in the Hub's cache ({cache}), and HF_HUB_OFFLINE forbids to download it"
    return f"not in the Hub's cache ({cache}), and the Hub cannot be reached"
