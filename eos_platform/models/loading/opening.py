"""Opening a model's folder: looked through first, so that no library meets a pipe or a billion layers there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.boundary import error_text, reading
from eos_platform.common.errors import EosError, did_you_mean, shown
from eos_platform.common.files import MEGABYTE, check_regular, read_text, shown_path
from eos_platform.models.bundled import MODELS, folder
from eos_platform.models.loading.hub import FILES, downloaded
from eos_platform.models.loading.pretrained import quiet

CONFIG = "config.json"
OBJECTS = (  # JSON objects, each of them
    CONFIG,
    "generation_config.json",
    "model.safetensors.index.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
LAYERS, LARGEST = 1_000, 2**24  # of a model that somebody has trained, with room to spare
_COUNTS = (
    *("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size", "intermediate_size"),
    *("vocab_size", "head_dim", "patch_size", "num_channels", "depth", "num_heads", "projection_dim"),
    *("temporal_patch_size", "spatial_merge_size", "max_position_embeddings"),
)


def place_of(model: str | Path, files: Sequence[str] = FILES) -> Path:
    """The folder of a bundled model's name, the folder itself, or that of a name on the Hub, downloaded if need be.

    Args:
        model: its name or folder.
        files: patterns of those that are wanted from the Hub.

    Raises:
        EosError: no model there.
    """
    name = str(model)
    path = folder(name) if name in MODELS else Path(name)
    try:
        if not path.exists() and (found := downloaded(name, files)) is not None:
            path = found
        exists = (path / CONFIG).exists() or (path / CONFIG).is_symlink()
        what = (
            f"has no {CONFIG}"
            if path.is_dir()
            else "is neither a bundled model, a folder nor a name on the Hub (OWNER/NAME)"
        )
    except (OSError, ValueError) as error:  # a name that no file can have
        raise EosError(f"model {shown(name)} cannot be opened: {error_text(error)}") from None
    if not exists:
        raise EosError(f"model {shown(name)} {what}{did_you_mean(name, MODELS)}")
    return path


@contextmanager
def opening(model: str | Path) -> Iterator[Path]:
    """The folder of ``model`` for the block to load it from, quietly.

    Raises:
        EosError: nothing there, something no model has, or whatever a library says within the block.
    """
    path = place_of(model)
    _look_through(path)
    with quiet(), warnings.catch_warnings(), reading(f"model {shown(str(model))} cannot be loaded"):
        warnings.simplefilter("ignore")
        yield path


def _look_through(path: Path) -> None:
    """Files that are files, JSON that is an object, sizes that can be."""
    for file in sorted(path.iterdir()):
        if file.name in OBJECTS or not file.is_dir():
            check_regular(file, "model file")
    for name in OBJECTS:
        if (path / name).exists():
            config = _object(path / name)
            if name == CONFIG:
                _check_sizes(config, shown_path(path / name))
                _check_weights(config, path)


def _object(path: Path) -> dict[str, Any]:
    data = strict_json.loads(read_text(path, "model file", 256 * MEGABYTE), shown_path(path))
    if not isinstance(data, dict):
        raise EosError(f"{shown_path(path)}: a JSON object is expected here, not {shown(data)}")
    return data


def _check_sizes(config: Mapping[str, Any], where: str) -> None:
    """Sizes as whole numbers of which a model can be built: a library would divide by them, or count up to them."""
    for key, value in config.items():
        if isinstance(value, dict):
            _check_sizes(value, f"{where}: {key[:60]}")
        if key not in _COUNTS or value is None or isinstance(value, (list, dict)):
            continue
        most = LAYERS if key in ("num_hidden_layers", "depth") else LARGEST
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise EosError(f"{where}: {key}: a whole number from 1 to {most:,} is expected, not {shown(value)}")


def _check_weights(config: Mapping[str, Any], path: Path) -> None:
    """A configuration of far more numbers than the folder holds would be filled at random before anybody could tell."""
    held = sum(file.stat().st_size for file in path.iterdir() if file.suffix in (".safetensors", ".bin"))
    need = sum(_least(part) for part in (config, *config.values()) if isinstance(part, dict))
    if held and need > 4 * held + 2**24:  # four bits are the least a number takes
        raise EosError(
            f"{shown_path(path / CONFIG)}: describes {need:,} numbers or more; the weights beside it are {held:,} bytes"
        )


def _least(config: Mapping[str, Any]) -> int:
    """So many numbers a transformer of these sizes has at least."""
    sizes = {name: config.get(name) for name in _COUNTS}
    of = {name: value if isinstance(value, int) else 0 for name, value in sizes.items()}
    heads = of["num_attention_heads"] * of["head_dim"]
    each = 2 * heads + 2 * of["intermediate_size"]
    return of["hidden_size"] * (of["vocab_size"] + of["num_hidden_layers"] * each)
