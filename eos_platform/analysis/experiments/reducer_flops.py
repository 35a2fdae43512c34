"""What each design's reducer costs in FLOPs: all that is done in the decoder because of it, as a share of a layer's.

    python -m eos_platform.analysis.experiments.reducer_flops
    python -m eos_platform.analysis.experiments.reducer_flops --designs prunesid,scope --tokens 576 --share .1

By the rule that compute ratios are counted by (matrix products), for a decoder like LLaVA-1.5-7B's: reading features
there, comparing, moving. What is found inside the vision tower is not in it, nor what is no product (sorting, picking
one by one, an eigendecomposition): ``reducer_cost`` has the time of all of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from eos_platform.analysis.experiments.reducer_cost import HEAD, LAYERS, TOWER_HEAD, VISION_LAYERS, WIDER, squarest
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError
from eos_platform.costs.flops import PlanCost, layer_flops
from eos_platform.costs.shapes import DecoderShape
from eos_platform.operators.designs import get_design, suited
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import Target

TOKENS = (576, 1024, 2880)


def shape(width: int) -> DecoderShape:
    """Of a decoder like LLaVA-1.5-7B's, so wide."""
    heads = max(1, width // HEAD)
    return DecoderShape(
        layers=LAYERS,
        hidden=width,
        heads=heads,
        kv_heads=heads,
        head_dim=width // heads,
        intermediate=round(WIDER * width),
        vocab=32064,
        key_width=TOWER_HEAD,
    )


def share(name: str, tokens: int, part: float, width: int, text: int) -> float:
    """FLOPs of a design's sites and of what they read, over those of a decoder layer with all tokens.

    Raises:
        EosError: it has no form with so few tokens.
    """
    design, target = get_design(name), Target(layers=LAYERS, grid=squarest(tokens), vision_layers=VISION_LAYERS)
    operator = design.build(target, tokens if design.fixed else part * tokens)
    cost = PlanCost.of(OperatorPlan.of(operator), shape(width), text)
    return (cost.opening + sum(cost.sites)) / layer_flops(shape(width), float(tokens + text))


def main(words: Sequence[str] | None = None) -> int:
    """Count and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--designs", default=",".join(suited()), help="with commas between; default: all")
    parser.add_argument("--tokens", type=int, nargs="*", default=list(TOKENS), help="visual tokens")
    parser.add_argument("--width", type=int, default=4096, help="of the decoder layer")
    parser.add_argument("--text", type=int, default=60, help="tokens that are not visual")
    parser.add_argument("--share", type=float, default=2 / 9, help="mean visual tokens left, of all (128 of 576)")
    given = parser.parse_args(words)
    terminal.say(f"{'share of a layer':16}" + "".join(f"{tokens:>10}" for tokens in given.tokens))
    try:
        for name in given.designs.split(","):
            shares = [share(name, tokens, given.share, given.width, given.text) for tokens in given.tokens]
            terminal.say(f"{name:16}" + "".join(f"{value:>10.4f}" for value in shares))
    except EosError as error:
        terminal.say(f"reducer_flops: {error}", stderr=True)
        return 2
    return 0


if __name__ == "__main__":
    terminal.run(main)
