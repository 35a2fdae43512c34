"""The one place where transformers loads anything: nothing a folder brings is run, and no weight is made up.

To transformers ``trust_remote_code`` left out is a question on the terminal, and weights that a folder lacks are drawn
at random after a warning. Here the first is no unless somebody said yes, and the second is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text
from eos_platform.models.loading.one_at_a_time import one_at_a_time

FLOATS = ("F64", "F32", "F16", "BF16")
BUFFERS = (".position_ids", ".inv_freq", ".masked_bias")  # that older versions saved; they are computed now
INDEX, WEIGHTS = "model.safetensors.index.json", "*.safetensors"


@one_at_a_time
def load(kind: Any, folder: str | Path, *, trust_remote_code: bool = False, **options: Any) -> Any:
    """``kind.from_pretrained``: a configuration, processor or tokenizer out of ``folder``.

    Args:
        kind: a class of transformers.
        trust_remote_code: run Python that lies in the folder, where its ``auto_map`` says so.
        options: of ``from_pretrained``.

    Raises:
        EosError: it cannot be loaded without code of its own.
        OSError, ValueError: whatever else transformers says.
    """
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code, **options)
    except ValueError as error:
        if trust_remote_code or "trust_remote_code" not in str(error):
            raise
        raise EosError(
            f"model '{folder}' needs Python code of its own (auto_map), which is not run; "
            "where you trust it: --trust-remote-code"
        ) from None


@one_at_a_time
def load_model(
    kind: Any, folder: str | Path, *, trust_remote_code: bool = False, allow_missing: bool = False, **options: Any
) -> Any:
    """``kind.from_pretrained``: a model with the weights out of ``folder``, all of them.

    Args:
        kind: a class of transformers.
        trust_remote_code: run Python that lies in the folder, where its ``auto_map`` says so.
        allow_missing: weights that the folder lacks are drawn at random, and those it has too many left out.
        options: of ``from_pretrained``.

    Raises:
        EosError: weights that are missing, unexpected, of another shape or no floating-point numbers.
        OSError, ValueError, RuntimeError, SafetensorError: whatever else transformers says.
    """
    if not allow_missing:
        _check_files(Path(folder))
    try:
        with quiet():
            model, info = load(kind, folder, trust_remote_code=trust_remote_code, output_loading_info=True, **options)
    except RuntimeError as error:
        if "ignore_mismatched_sizes" in str(error):
            raise EosError(f"model '{folder}': its weights have other shapes than its config.json says") from None
        raise
    if info.get("mismatched_keys"):
        raise EosError(f"model '{folder}': its weights have other shapes than its config.json says")
    if info.get("error_msgs"):
        raise EosError(f"model '{folder}': {info['error_msgs'][0]}")
    if not allow_missing:
        _refuse(folder, "lack", info.get("missing_keys", ()), "they would be drawn at random")
        extra = [name for name in info.get("unexpected_keys", ()) if not name.endswith(BUFFERS)]
        _refuse(folder, "have, beside those of the model,", extra, "they would be left out")
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """No table of missing weights on the terminal: the error says it in a line."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


@one_at_a_time
def build(kind: Any, config: Any, **options: Any) -> Any:
    """``kind.from_config``: a model with random weights; code that the configuration names is not run."""
    return kind.from_config(config, trust_remote_code=False, **options)


def _refuse(folder: str | Path, verb: str, names: Any, why: str) -> None:
    if names:
        first, *rest = sorted(names)
        more = f" and {len(rest)} more" if rest else ""
        raise EosError(f"model '{folder}': its weights {verb} '{first}'{more}; {why} (--allow-missing takes that)")


def _check_files(folder: Path) -> None:
    """Files of weights that the index names are there, and hold floating-point numbers (packed ones if quantized).

    Raises:
        EosError: they are not.
    """
    if (folder / INDEX).exists():
        index = strict_json.loads(read_text(folder / INDEX, "index of weights"), str(folder / INDEX))
        shards = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise EosError(f"{folder / INDEX}: 'weight_map' must say for each weight which file it is in")
        for name in sorted(set(shards.values())):
            if Path(name).name != name:
                raise EosError(f"{folder / INDEX}: '{name}' is no name of a file beside it")
            if not (folder / name).is_file():
                raise EosError(f"model '{folder}': its index names {name}, which is not there")
        held = {key: path.name for path in folder.glob(WEIGHTS) for key, _ in _tensors(path)}
        for key, name in shards.items():
            if held.get(key) != name:
                raise EosError(f"model '{folder}': its index says that '{key}' is in {name}, which lacks it")
    config = folder / "config.json"
    if config.is_file() and "quantization_config" in read_text(config, "configuration"):
        return
    for path in sorted(folder.glob(WEIGHTS)):
        for key, kind in _tensors(path):
            if kind not in FLOATS and not key.endswith((*BUFFERS, ".num_batches_tracked")):
                raise EosError(f"model '{folder}': '{key}' is of type {kind}; weights are one of {', '.join(FLOATS)}")


def _tensors(path: Path) -> Iterator[tuple[str, str]]:
    """Names and types of the tensors in a file."""
    with safe_open(path, framework="pt") as saved:
        for key in saved.keys():  # noqa: SIM118
            yield key, saved.get_slice(key).get_dtype()
