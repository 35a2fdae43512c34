"""A model's own processor, without torchvision where only its films would need it; what it lacks is said in one line.

Processors of Qwen, LLaVA-OneVision and others prepare pictures and films. Pictures can be had from Pillow, films need
torchvision; without it transformers loads neither. Here such a processor is loaded without its part for films.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text
from eos_platform.models.loading.pretrained import load

FILMS, LIBRARY = "video_processor", "torchvision"
EXTRA = (LIBRARY, "num2words", "sentencepiece")  # what the extra brings
_NEEDS = re.compile(r"(?:requires the|needs|package|pip install) `?([A-Za-z][\w-]*)", re.IGNORECASE)
NAMED_IN = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")


def load_processor(folder: str | Path, *, trust_remote_code: bool = False) -> Any:
    """The processor out of ``folder``; for pictures alone where torchvision is missing.

    Args:
        folder: of a model.
        trust_remote_code: run Python that lies in the folder, where its ``auto_map`` says so.

    Raises:
        EosError: a package is missing, and the command that installs it.
        OSError, ValueError: whatever else transformers says.
    """
    from transformers import AutoProcessor

    kind = None
    try:
        return load(AutoProcessor, folder, trust_remote_code=trust_remote_code)
    except ImportError as error:
        if LIBRARY in str(error).lower():
            kind = _class_named_in(Path(folder))
        if kind is None:
            raise _missing(error, folder) from None
    try:
        return load(_without_films(kind), folder, trust_remote_code=trust_remote_code)
    except ImportError as error:
        raise _missing(error, folder) from None


def _missing(error: ImportError, folder: str | Path) -> EosError:
    """What is missing, with the command that installs it."""
    text = str(error)
    needed = LIBRARY if LIBRARY in text.lower() else error.name or next(iter(_NEEDS.findall(text)), None)
    if needed is None:
        return EosError(f"model '{folder}': its processor cannot be loaded: {error_text(error)}")
    package = needed.split(".")[0].lower()
    build = " (torchvision of the build that belongs to the torch which is installed)" if package == LIBRARY else ""
    what = "'eos-platform[processors]'" if package in EXTRA else package
    return EosError(f"model '{folder}': its processor needs {package}: pip install {what}{build}")


@cache
def _without_films(kind: Any) -> Any:
    """The class of a processor, less its part for films."""

    def get_attributes(cls: Any) -> list[str]:
        return [name for name in kind.get_attributes() if name != FILMS]

    return type(kind.__name__, (kind,), {"get_attributes": classmethod(get_attributes), "__module__": kind.__module__})


def _class_named_in(folder: Path) -> Any:
    """The processor class that a folder's files name, if it is one of transformers' that knows films; else None."""
    import transformers

    for name in NAMED_IN:
        if (folder / name).is_file():
            config = strict_json.loads(read_text(folder / name, "model file"), name)
            named = config.get("processor_class") if isinstance(config, dict) else None
            kind = getattr(transformers, named, None) if isinstance(named, str) else None
            if isinstance(kind, type) and issubclass(kind, transformers.ProcessorMixin):
                return kind if FILMS in kind.get_attributes() else None
    return None
