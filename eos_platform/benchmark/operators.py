"""From coordinates to the operator that stands behind them, for the model of a table.

Learned directions come from short gradient searches, one for each layer that a composed site can stand before; they are
part of the space, and lie beside the table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from eos_platform.benchmark.space import NONE, Config, Knobs, Space
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, unknown
from eos_platform.costs.flops import DecoderShape, compute_ratio
from eos_platform.costs.match import TooDear, largest
from eos_platform.operators.designs import DESIGNS
from eos_platform.operators.designs.base import Design, Knob, Value
from eos_platform.operators.site import SiteSpec, Transfer
from eos_platform.operators.spec import OperatorSpec, Target
from eos_platform.operators.steering import Steering
from eos_platform.tasks.base import Subject

# designs of the space: others that come later are not part of it, or its coordinates would change
OFFERED = (
    "adaptinfer", "adaptive-pool", "cdpruner", "cen-cdpruner", "cen-divprune", "d2pruner", "dart", "diffrate",
    "divprune", "downsample", "fastervlm", "fastv", "flowcut", "holov", "mmtok", "nuwa", "pool", "prumerge",
    "prumerge+", "prunesid", "pyramiddrop", "random", "reweight", "scope", "sparsevlm", "sparsevlm-v2", "stride",
    "todre", "tome", "tome-tower", "tops", "v2drop", "visionzip", "vispruner", "vtw", "zero", "zoo-prune",
)  # fmt: skip
DIRECTIONS, TRIED = "directions.json", 0.2
FEATURE = 0.1  # weight of a feature: beside a direction as searches find them, about as much as it
SOFT = 0.02  # temperature of a soft transfer, about what searches find
TRANSFERS = {"none": Transfer(), "nearest": Transfer(gamma=1.0), "soft": Transfer(gamma=1.0, tau=SOFT)}


def design_knobs(design: Design, target: Target) -> Knobs:
    """The first number among a design's knobs at its published value, half way down and half way up, and the last of
    its choices."""
    knobs = design.knobs(target)
    number = next((knob for knob in knobs if not knob.choices), None)
    choice = next((knob for knob in reversed(knobs) if knob.choices), None)
    values = (number.name, _levels(number)) if number else None
    other = (choice.name, (choice.default, _other(choice))) if choice else None
    return Knobs(values if values and len(values[1]) > 1 else None, other)


def _levels(knob: Knob) -> tuple[Value, ...]:
    default, levels = float(knob.default), [knob.default]
    for bound, whole in ((knob.low, math.floor), (knob.high, math.ceil)):
        assert bound is not None
        middle = (default * bound) ** 0.5 if knob.log else (default + bound) / 2
        value = whole(middle) if isinstance(knob.default, int) else float(f"{middle:.4g}")
        if value not in levels:
            levels.append(value)
    return tuple(levels)


def _other(knob: Knob) -> Value:
    return next(choice for choice in knob.choices if choice != knob.default)


class Operators:
    """Operators of one model.

    Attributes:
        target: what they refer to.
        shape: of its decoder.
        text_tokens: of a typical prompt, those that are not visual; compute ratios are taken at this length.
        knobs: of its designs.
    """

    def __init__(
        self, model: str, target: Target, shape: DecoderShape, text_tokens: int, knobs: Mapping[str, Knobs]
    ) -> None:
        self.model, self.target, self.shape, self.text_tokens = model, target, shape, text_tokens
        self.knobs = knobs

    @classmethod
    def on(cls, workload: Subject) -> Operators:
        """Of a model that is there, with every design offered that its questions can be asked with.

        Where pictures are not kept, that is none that acts or reads in the vision tower.
        """
        target, encoded = workload.target, workload.few("validation", 8)
        known = {name: design_knobs(DESIGNS[name], target) for name in OFFERED}
        every = cls(workload.name, target, workload.shape, workload.text_tokens, known)
        refused = set()
        for point in Space(known, ("design",)).points():
            if point["ratio"] == TRIED and point["design"] not in refused:
                try:
                    encoded.encoded_with(every.of(point))
                except EosError:
                    refused.add(point["design"])
        knobs = {name: knob for name, knob in known.items() if name not in refused}
        return cls(every.model, target, every.shape, every.text_tokens, knobs)

    def of(self, config: Config) -> OperatorSpec:
        """The operator of a canonical point.

        Raises:
            EosError: it is what a search finds, which no coordinates say.
        """
        if config["family"] == "composed":
            return self._composed(config)
        if config["family"] == "design":
            return self._design(config)
        raise EosError("an operator that a search has found is not made from coordinates: the table has it")

    def _composed(self, config: Config) -> OperatorSpec:
        keep = max(1, round(float(config["keep"]) * self.target.tokens))
        sites = [self._site(config, int(config["first_layer"]), keep)]
        if config["second_layer"] != NONE:
            fewer = max(1, round(float(config["second_keep"]) * keep))
            sites.append(self._site(config, int(config["second_layer"]), fewer))
        return OperatorSpec(name="composed", target=self.target, sites=tuple(sites))

    def _site(self, config: Config, layer: int, keep: int) -> SiteSpec:
        score = {
            "uniqueness": FEATURE * int(config["uniqueness"]),
            "last_text": FEATURE * int(config["text"] and layer),
        }
        score = {name: weight for name, weight in score.items() if weight}
        probe, steering = directions(self.model, layer) if config["probe"] != "none" else ((), None)
        spread, scored = float(config["spread"]), bool(score or probe)
        selector = "diverse_topk" if spread else "score"
        if not scored:
            selector, spread = ("farthest" if spread else "grid"), 0.0
        return SiteSpec(
            layer=layer,
            keep=keep,
            selector=selector,  # type: ignore[arg-type]
            score=score,
            probe=probe,
            steering=steering if config["probe"] == "steered" else None,
            spread=spread,
            transfer=TRANSFERS[str(config["transfer"])],
            beta=float(config["size_bias"]),
        )

    def _design(self, config: Config) -> OperatorSpec:
        name, values = str(config["design"]), dict[str, Any]()
        for knob, at in ((self.knobs[name].number, "knob_number"), (self.knobs[name].choice, "knob_choice")):
            if knob is not None:
                values[knob[0]] = knob[1][int(config[at])]
        ratio, design = float(config["ratio"]), DESIGNS[name]

        def price(operator: OperatorSpec) -> float:
            return compute_ratio(operator, self.shape, self.text_tokens)

        try:
            return largest(design, ratio, self.target, price, **values)
        except TooDear as error:
            return largest(design, error.least, self.target, price, **values)


def digest(operator: OperatorSpec) -> str:
    """Eight digits that tell operators apart by what they do, whatever they are called."""
    return operator.model_copy(update={"name": "operator", "provenance": {}}).fingerprint


@cache
def _stored() -> dict[str, Any]:
    place = resources.files("eos_platform.benchmark.data").joinpath(DIRECTIONS)
    data: dict[str, Any] = strict_json.loads(place.read_text("utf-8"), DIRECTIONS)
    return data


@cache
def directions(model: str, layer: int) -> tuple[tuple[float, ...], Steering]:
    """The direction that a search has learned before a layer, and how questions turn it.

    Raises:
        EosError: there is none of this model or layer.
    """
    of_model = _stored().get(model)
    if of_model is None:
        raise unknown("model", model, _stored())
    if str(layer) not in of_model:
        raise unknown("layer", str(layer), of_model)
    found = of_model[str(layer)]
    return tuple(map(float, found["probe"])), Steering.model_validate(found["steering"])
