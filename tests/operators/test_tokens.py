"""What all operators share of moves and precision."""

import torch

from eos_platform.operators.tokens import without_autocast


def product(x: torch.Tensor) -> torch.Tensor:
    with without_autocast(x):
        return x @ x


def test_products_keep_their_precision_compiled_before_autocast_or_not() -> None:
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> object:
        graphs.append(graph)
        return graph.forward

    x = torch.rand(3, 3)
    compiled = torch.compile(product, backend=backend, dynamic=False)
    plain = compiled(x)
    assert "autocast" not in graphs[0].code  # AOTAutograd does not keep a graph that has it
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        assert product(x).dtype == torch.float32
        within = compiled(x)
    assert within.dtype == torch.float32
    assert torch.equal(plain, within)
    assert torch.equal(plain, x @ x)
