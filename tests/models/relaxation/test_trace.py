"""Which tokens stay, as pictures of operators show them."""

from __future__ import annotations

from typing import Any

import torch

from eos_platform.models.relaxation.trace import kept_places
from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.spec import OperatorSpec


def left(model: Any, spec: OperatorSpec, x: torch.Tensor, layout: Any) -> list[list[int]]:
    """The visual tokens whose rows come out other than zero."""
    with reducing(model, spec, layout), torch.no_grad():
        output = model.model.language_model(inputs_embeds=x, attention_mask=layout.valid_bs.long()).last_hidden_state
    rows = [output[row, layout.visual_bn[row]].abs().sum(-1) for row in range(len(x))]
    return [[place for place, size in enumerate(row.tolist()) if size > 0] for row in rows]


def test_every_site_has_its_own(small: Any, model: Any, wider: OperatorSpec) -> None:
    x, layout = small.embed(model, small.prompts(2, (9, 5)), wider)
    found = kept_places(model, wider, x, layout)
    tower = [one for one in found if one.place == "tower"]
    assert [one.layer for one in found[len(tower) :]] == [site.layer for site in wider.decoder_sites]
    assert bool(tower) == wider.sees_less
    if layout.seen is not None:
        assert torch.equal(tower[0].origin_br, layout.seen.index_br)
        assert torch.equal(tower[0].size_br, layout.seen.size_br)
    for number in range(len(tower), len(found)):
        sites = wider.decoder_sites[: number - len(tower) + 1]
        alone = wider.model_copy(update={"sites": wider.tower_sites + sites})
        assert found[number].origin_br.tolist() == left(model, alone, x, layout)
        assert found[number].size_br.shape == found[number].origin_br.shape
    assert found[-1].origin_br.tolist() == left(model, wider, x, layout)


def test_sites_that_keep_all_are_told_too(small: Any, model: Any) -> None:
    spec = small.operator(
        {"layer": 0, "keep": 64, "selector": "grid"},
        {"layer": 1, "keep": 16, "selector": "grid", "transfer": {"gamma": 1.0}},
        {"layer": 2, "keep": 16, "selector": "grid"},
    )
    x, layout = small.embed(model, small.prompts(2, (9, 5)))
    found = kept_places(model, spec, x, layout)
    assert [(one.place, one.layer, one.origin_br.shape[1]) for one in found] == [
        ("decoder", 0, 64),
        ("decoder", 1, 16),
        ("decoder", 2, 16),
    ]
    assert found[0].origin_br.tolist() == [list(range(64))] * 2
    assert torch.allclose(found[1].size_br.sum(1), torch.tensor([64.0, 64.0]))
    assert torch.equal(found[1].origin_br, found[2].origin_br)
