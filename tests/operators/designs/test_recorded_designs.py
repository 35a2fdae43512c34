"""Every design as it was last looked at: knobs, the counts its authors give, and what it builds at several sizes."""

import pytest

from eos_platform.common.errors import EosError
from eos_platform.operators.designs import DESIGNS, LLAVA, suited
from eos_platform.operators.spec import Target

TARGETS = {
    "llava": LLAVA,
    "small": Target(layers=8, grid=(6, 8), vision_layers=4),
    "oblong": Target(layers=27, grid=(7, 5), vision_layers=9),
}
SHARES = (0.06, 0.2, 0.45, 0.8)


def short(operator):
    """Where how many stay, and apart from that the settings that differ from the default, each kind of site once."""
    kinds, rows = [], []
    for site in operator.sites:
        kind = site.model_dump(mode="json", exclude_defaults=True, exclude={"layer", "keep", "important"})
        kinds += [kind] if kind not in kinds else []
        rows.append([site.layer, site.keep, site.important, kinds.index(kind)])
    image = [] if operator.image is None else list(operator.image)
    return {"image": image, "sites": rows, "kinds": kinds, "mean": operator.mean_tokens}


def built(design, target, tokens, **knobs):
    try:
        return short(design.build(target, tokens, **knobs))
    except EosError as error:
        return str(error)


@pytest.mark.parametrize("name", suited())
def test_recorded_design(name, recorded):
    design = DESIGNS[name]
    found = {
        "knobs": {
            which: [[k.name, k.default, k.low, k.high, list(k.choices), k.log] for k in design.knobs(target)]
            for which, target in TARGETS.items()
        },
        "regime": [design.regime, design.fixed, design.coarse],
    }
    for nominal, make in design.published.items():
        operator = make()
        found[f"published {nominal}"] = {**short(operator), "counts": operator.provenance.get("counts", "")}
    for which, target in TARGETS.items():
        for share in SHARES:
            found[f"{which} at {share}"] = built(design, target, share * target.tokens)
    for knob in design.knobs(LLAVA):
        for value in knob.choices or [value for value in (knob.low, knob.high) if value is not None]:
            value = type(knob.default)(value)
            found[f"{knob.name} {value}"] = built(design, LLAVA, 150, **{knob.name: value})
    recorded(f"design-{name}", found)
