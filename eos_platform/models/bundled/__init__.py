"""The small models that ship with the package: two LLaVAs for ``scenes``, five of five families for ``scenes-v2``, one
for ``films``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eos_platform.common.cache_folder import cache_folder

GRIDS = {"bundled": 24, "bundled-small": 12}  # visual tokens a side, of those for ``scenes``


@dataclass(frozen=True)
class Bundled:
    """A model that ships with the package.

    Attributes:
        family: it belongs to.
        task: it was trained on.
    """

    family: str
    task: str


MODELS = {
    "bundled": Bundled("LLaVA-1.5", "scenes"),
    "bundled-small": Bundled("LLaVA-1.5", "scenes"),
    "bundled-small-v2": Bundled("LLaVA-1.5", "scenes-v2"),
    "bundled-qwen": Bundled("Qwen2.5-VL", "scenes-v2"),
    "bundled-gemma": Bundled("Gemma 3", "scenes-v2"),
    "bundled-smolvlm": Bundled("SmolVLM", "scenes-v2"),
    "bundled-onevision": Bundled("LLaVA-OneVision", "scenes-v2"),
    "bundled-film": Bundled("Qwen2.5-VL", "films"),
}


_unpacked: dict[tuple[Path, Path | None], Path] = {}


def folder(name: str) -> Path:
    """Where a bundled model lies, as a Hugging Face model folder; one whose weights are packed is unpacked first."""
    place, cache = Path(__file__).parent / name, cache_folder()
    if not (place / "model.int8.safetensors").exists():
        return place
    if (place, cache) not in _unpacked or not _unpacked[place, cache].is_dir():
        from eos_platform.models.bundled.packed import unpack  # torch is not wanted where only names are asked for

        _unpacked[place, cache] = unpack(place, cache)
    return _unpacked[place, cache]
