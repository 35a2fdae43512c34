"""A model's own processor, without torchvision where only its films would need it.

Processors of Qwen, LLaVA-OneVision and others prepare pictures and films. Pictures can be had from Pillow, films need
torchvision; without it transformers loads neither. Here such a processor is loaded without its part for films.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text
from eos_platform.models.loading.pretrained import load

FILMS, LIBRARY = "video_processor", "torchvision"
NAMED_IN = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")


def load_processor(folder: str | Path, *, trust_remote_code: bool = False) -> Any:
    """The processor out of ``folder``; for pictures alone where torchvision is missing.

    Args:
        folder: of a model.
        trust_remote_code: run Python that lies in the folder, where its ``auto_map`` says so.

    Raises:
        EosError: its pictures, too, need torchvision.
        OSError, ValueError, ImportError: whatever else transformers says.
    """
    from transformers import AutoProcessor

    try:
        return load(AutoProcessor, folder, trust_remote_code=trust_remote_code)
    except ImportError as error:
        kind = _class_named_in(Path(folder))
        if LIBRARY not in str(error).lower() or kind is None:
            raise
    try:
        return load(_without_films(kind), folder, trust_remote_code=trust_remote_code)
    except ImportError as error:
        if LIBRARY not in str(error).lower():
            raise
        raise EosError(
            f"model '{folder}': its {kind.__name__} needs torchvision: pip install torchvision "
            "(the build that belongs to the torch which is installed)"
        ) from None


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
