"""From shards to the Parquet: every point of the space, or none of its model.

Only blocks of questions that every point has been asked become part of it.
"""

from __future__ import annotations

import base64
import datetime
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eos_platform.benchmark.make.asked import BLOCK, SPLIT, Asked
from eos_platform.benchmark.make.collect import Collected
from eos_platform.benchmark.make.places import PLACES, Predicted
from eos_platform.benchmark.make.searches import BATCH, SEEN, STEPS
from eos_platform.benchmark.make.times import MODEL
from eos_platform.benchmark.operators import digest
from eos_platform.benchmark.space import FAMILIES, Space
from eos_platform.benchmark.table import KEY, SCHEMA
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.extras import needed
from eos_platform.common.files import write_atomic
from eos_platform.costs.device.profile import DeviceProfile
from eos_platform.costs.flops import compute_ratio
from eos_platform.costs.kv_bytes import KvBytes
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext

LICENCE = "CC-BY-4.0"
RUNGS = (128, 512, 1024)  # questions of the columns ``accuracy_N``
Row = dict[str, Any]


def build(folder: Path, path: Path, models: Sequence[str], profiles: dict[str, Path], every: int = 1) -> list[str]:
    """Put a table together.

    Args:
        folder: of the shards.
        path: of the table.
        models: that must be complete.
        profiles: device profiles by device (``cuda``, ``cpu``).
        every: as the shards were made with; above 1 the table is for trying things out, and says so.

    Returns:
        What was made, in lines.

    Raises:
        EosError: a point is missing, or what was asked is not what its coordinates stand for now.
    """
    found = Collected.of(folder)
    predicted = {device: Predicted(DeviceProfile.load(place), PLACES[device]) for device, place in profiles.items()}
    rows: list[Row] = []
    about: dict[str, Any] = {}
    blocks = min(_blocks(found, model) for model in models)
    for model in models:
        asked = Asked(model, "cpu", blocks * BLOCK)
        rows += _rows(asked, found, blocks, predicted, every)
        about[model] = _about(asked, found, blocks, predicted)
    data = {
        "schema": SCHEMA,
        "licence": LICENCE,
        "split": SPLIT,
        "steps": list(STEPS),
        "search": {"batch_size": BATCH, "search_questions": SEEN, "steps": STEPS[-1]},
        "every": every,
        "models": about,
        "provenance": _provenance(profiles),
    }
    size = _write(rows, data, path)
    distinct = len({(row["model"], row["digest"]) for row in rows})
    return [f"{len(rows)} rows, {distinct} distinct operators, {blocks * BLOCK} questions, {size / 1e6:.2f} MB: {path}"]


def _blocks(found: Collected, model: str) -> int:
    """Of questions that everything was asked that was asked at all."""
    shared = [set(right) for (name, _, _), right in found.right.items() if name == model]
    if not shared:
        raise EosError(f"the shards hold nothing of {model}")
    common = set.intersection(*shared)
    count = next(number for number in range(len(common) + 1) if number not in common)
    if not count:
        raise EosError(f"the shards hold no block of {BLOCK} questions that all points of {model} were asked")
    return count


def _rows(asked: Asked, found: Collected, blocks: int, predicted: dict[str, Predicted], every: int) -> Iterator[Row]:
    model, operators = asked.workload.name, asked.operators
    space = Space(operators.knobs)
    context = CostContext(asked.workload.shape, asked.workload.target, asked.workload.text_tokens)
    group_q, groups = _groups(asked)
    missing = 0
    for config in space.points():
        at, searched = space.indices(config), config["family"] == "searched"
        for steps in STEPS if searched else (0,):
            key = model, at, steps
            if key not in found.right:
                missing += 1
                continue
            operator = OperatorSpec.from_json(found.operators[key]) if searched else operators.of(config)
            if digest(operator) != found.digests[key]:
                raise EosError(f"{model}, {config}: its operator is another now than the one that was asked")
            bits = b"".join(found.right[key][block] for block in range(blocks))
            right_q = np.unpackbits(np.frombuffer(bits, np.uint8)).astype(bool)
            counts = [one.name for one in space.parameters if space.counts(one.name, config)]
            yield {
                "model": model,
                "steps": steps,
                **{one.name: config[one.name] if one.name in counts else None for one in space.parameters},
                "digest": found.digests[key],
                **{f"accuracy_{n}": float(right_q[:n].mean()) for n in RUNGS if n <= len(right_q)},
                "group_right": [int(right_q[group_q == place].sum()) for place in range(len(groups))],
                "right": bits,
                "compute_ratio": compute_ratio(operator, operators.shape, operators.text_tokens),
                "kv_bytes": KvBytes().measure(context, operator),
                **{f"predicted_ms_{NAMES[device]}": one.of(operator) for device, one in predicted.items()},
                **{f"measured_ms_{name}": found.times.get(device, {}).get(key) for device, name in NAMES.items()},
                "operator": _plain(operator) if searched else None,
            }
    if missing and every == 1:
        raise EosError(f"{missing} points of {model} have not been asked; python -m eos_platform.benchmark.make work")


NAMES = {"cuda": "h200", "cpu": "cpu"}


def _plain(operator: OperatorSpec) -> str:
    """An operator as JSON without what is no part of it."""
    bare = operator.model_copy(update={"name": "searched", "provenance": {}})
    return strict_json.dumps(strict_json.loads(bare.to_json(), "operator"), ascii_only=False)


def _groups(asked: Asked) -> tuple[np.ndarray, list[str]]:
    skills = list(asked.encoded.skills)[: asked.questions]
    groups = sorted(set(skills))
    return np.array([groups.index(skill) for skill in skills]), groups


def _about(asked: Asked, found: Collected, blocks: int, predicted: dict[str, Predicted]) -> dict[str, Any]:
    workload, group_of = asked.workload, _groups(asked)
    right = found.right.get((workload.name, (), 0), {})
    if any(block not in right for block in range(blocks)):
        raise EosError(f"the shards do not hold what the unreduced {workload.name} answers")
    context = CostContext(workload.shape, workload.target, workload.text_tokens)
    return {
        "task": workload.task,
        "questions": blocks * BLOCK,
        "groups": group_of[1],
        "group_of": group_of[0].tolist(),
        "text_tokens": workload.text_tokens,
        "target": workload.target.model_dump(mode="json"),
        "shape": {name: value for name, value in asdict(workload.shape).items() if isinstance(value, int)},
        "designs": {
            name: {"number": knobs.number, "choice": knobs.choice} for name, knobs in asked.operators.knobs.items()
        },
        "unreduced": {
            "right": base64.b64encode(b"".join(right[block] for block in range(blocks))).decode(),
            "compute_ratio": 1.0,
            "kv_bytes": KvBytes().measure(context, None),
            **{f"predicted_ms_{NAMES[device]}": one.of(None) for device, one in predicted.items()},
        },
        "timed": workload.name == MODEL,
    }


def _provenance(profiles: dict[str, Path]) -> dict[str, Any]:
    import transformers

    return {
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "eos_platform": metadata.version("eos-platform"),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "weights": "float32",
        "profiles": {NAMES[device]: place.name for device, place in profiles.items()},
        "command": "python -m eos_platform.benchmark.make",
        "families": list(FAMILIES),
    }


def _write(rows: list[Row], data: dict[str, Any], path: Path) -> int:
    import io

    pyarrow = needed("pyarrow", "data", "the table is written as Parquet")
    parquet = needed("pyarrow.parquet", "data", "the table is written as Parquet")
    types = _types(rows[0], pyarrow)
    columns = {name: pyarrow.array([row.get(name) for row in rows], type=kind) for name, kind in types.items()}
    table = pyarrow.table(columns).replace_schema_metadata({KEY: strict_json.dumps(strict_json.plain(data)).encode()})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd", compression_level=19)
    write_atomic(path, buffer.getvalue())
    return len(buffer.getvalue())


def _types(row: Row, pyarrow: Any) -> dict[str, Any]:
    floats = ("keep", "second_keep", "spread", "ratio", "budget", "learning_rate", "compute_ratio")
    words = ("model", "family", "probe", "transfer", "design", "digest", "operator")
    kinds = {name: pyarrow.float64() for name in floats} | {name: pyarrow.string() for name in words}
    kinds |= {"right": pyarrow.binary(), "group_right": pyarrow.list_(pyarrow.uint16()), "kv_bytes": pyarrow.int32()}
    short = {name: pyarrow.float32() for name in row if name.startswith(("accuracy_", "predicted_", "measured_"))}
    return {name: (kinds | short).get(name, pyarrow.int16()) for name in row}
