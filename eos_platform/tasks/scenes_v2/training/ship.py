"""Make a bundled model of a trained one.

    python -m eos_platform.tasks.scenes_v2.training.ship trained/bundled-gemma --as bundled-gemma --eight-bit

Configuration, tokenizer, processor and weights go to ``models/bundled/NAME``; with ``--eight-bit`` these are packed
(``models.bundled.packed``). With ``--own-template`` prompts are as the trained folder says, whatever script trained it.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file

from eos_platform.common import console as terminal
from eos_platform.models import bundled
from eos_platform.models.bundled.packed import PACKED, WEIGHTS, packed
from eos_platform.tasks.scenes_v2.training.families import FAMILIES, family

OTHERS = ("config.json", "generation_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json")
TEMPLATE = "chat_template.jinja"


def ship(trained: Path, out: Path, model: str, eight_bit: bool, own_template: bool = False) -> int:
    """Write the folder anew; the size of its weights in bytes.

    Args:
        trained: a folder of the training script's.
        out: the folder of the bundled model.
        model: as training calls it.
        eight_bit: pack the weights.
        own_template: prompts are as the trained folder says, of whatever script; else as training has them.

    Raises:
        EosError: training knows no such model.
    """
    template = (trained / TEMPLATE).read_text() if own_template else family(model).chat_template()
    weights = load_file(trained / WEIGHTS)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in OTHERS:
        (out / name).write_bytes((trained / name).read_bytes())
    (out / TEMPLATE).write_text(template)
    target = out / (PACKED if eight_bit else WEIGHTS)
    target.write_bytes(packed(weights) if eight_bit else (trained / WEIGHTS).read_bytes())
    return target.stat().st_size


def main(words: Sequence[str] | None = None) -> None:
    """See the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path, help="a folder of the training script's")
    parser.add_argument("--as", dest="name", required=True, help="name of the bundled model")
    parser.add_argument("--model", choices=sorted(FAMILIES), help="as training calls it; default: the same name")
    parser.add_argument("--eight-bit", action="store_true", help="pack the weights")
    parser.add_argument("--own-template", action="store_true", help="prompts as the trained folder has them")
    given = parser.parse_args(words)
    out = Path(bundled.__file__).parent / given.name
    size = ship(given.trained, out, given.model or given.name, given.eight_bit, given.own_template)
    terminal.say(f"{given.name}: {size:,} bytes of weights")


if __name__ == "__main__":
    main()
