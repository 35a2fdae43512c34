"""An operator's sites before the language model, on embeddings as an engine's vision tower gives them.

Legend: m images of one grid, n visual tokens, r that stay, d width, a axes of positions, t text tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.attention.text_queries import question, relevance
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.reduce import reduce
from eos_platform.operators.rescale import Grid
from eos_platform.operators.spec import OperatorSpec
from eos_platform.operators.tokens import Tokens, gather_tokens
from eos_platform.serve.plan import LayerZero, ServingPlan, digest

OF_PROMPT = "question"  # not of a token
# numbers behind an embedding beside its place: the bias, how many tokens it stands for, its number in the grid, and how
# much the vision tower looked at it, where that is read
BEHIND = 4


class Reduction:
    """Sites at work.

    Attributes:
        digest: tells the operator's file apart.
        usual: what is known of it for pictures of the usual grid.
    """

    def __init__(self, operator: OperatorSpec, told: str, axes: int = 1) -> None:
        """``operator``: what is served; ``told``: the digest of its file; ``axes``: of a token's position."""
        self.digest, self.axes = told, axes
        self.plan = OperatorPlan.of(operator)
        self.usual = LayerZero.of(self.plan)

    @classmethod
    def named_by(cls, config: Any, axes: int = 1) -> Reduction | None:
        """The operator that a model's configuration names; None: it names none.

        Raises:
            EosError: it cannot be read or served, or is another than when the engine was started.
        """
        path = getattr(config, "eos_operator", None)
        if path is None:
            return None
        approximate, inside = (bool(getattr(config, name, False)) for name in ("eos_approximate", "eos_inside"))
        return _read(str(path), getattr(config, "eos_digest", None), approximate, inside, axes)

    @property
    def reads_text(self) -> bool:
        """Whether the text of the prompt decides which tokens stay."""
        return self.usual.reads_text

    def of_grid(self, grid: Grid) -> LayerZero:
        """The same for pictures of a grid."""
        return LayerZero.of(self.plan.of_grid(grid))

    @torch.inference_mode()
    def __call__(
        self, x_mnd: Tensor, grid: Grid, seen: Mapping[str, Tensor], text: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Reduce pictures of one grid.

        Args:
            x_mnd: their visual tokens.
            grid: rows and columns of these.
            seen: what the vision tower said of them, by feature name.
            text: embeddings (m, t, d) of the text behind each prompt's last picture, and which are no padding (m, t).

        Returns:
            (m, r, d + 4 + a), float32: the tokens that stay; behind each the numbers of ``BEHIND``, and where it stands
            from the picture's first position on. Half precision could not hold these.
        """
        served = self.of_grid(grid)
        given = dict(seen)
        if text is not None:
            given[OF_PROMPT] = question(*text)
            if "relevance" in served.plan.features:
                given["relevance"] = relevance(x_mnd, *text)
        m = len(x_mnd)
        tokens = Tokens.of(x_mnd)
        place_amn = self._places(grid, x_mnd.device).expand(m, -1, -1).movedim(2, 0)
        for planned in served.sites:
            tokens, index_mr = reduce(planned.site, tokens, given, grid)
            given = {k: v if k == OF_PROMPT else gather_tokens(v, index_mr) for k, v in given.items()}
            if planned.site.positions == "renumber":
                place_amn = torch.arange(index_mr.shape[1], device=x_mnd.device).expand(self.axes, m, -1)
            else:
                place_amn = place_amn.gather(2, index_mr.expand(self.axes, -1, -1))
        bias_mr = torch.zeros_like(tokens.size_bn)
        if served.sized:
            bias_mr = served.sites[-1].site.beta * tokens.size_bn.float().log()
        vision_mr = given.get("vision", torch.zeros_like(bias_mr))
        behind_mr4 = torch.stack((bias_mr, tokens.size_bn, tokens.origin_bn, vision_mr), -1)
        return torch.cat((tokens.x_bnd.float(), behind_mr4, place_amn.movedim(0, 2).float()), -1)

    def _places(self, grid: Grid, device: torch.device) -> Tensor:
        """Of the tokens of a grid, counted from its first (n, a)."""
        n = grid[0] * grid[1]
        if self.axes == 1:
            return torch.arange(n, device=device)[:, None]
        row_n = torch.arange(grid[0], device=device).repeat_interleave(grid[1])
        column_n = torch.arange(grid[1], device=device).repeat(grid[0])
        return torch.stack((torch.zeros_like(row_n), row_n, column_n), -1)


@lru_cache(maxsize=8)
def _read(path: str, told: str | None, approximate: bool, inside: bool, axes: int) -> Reduction:
    whole = OperatorSpec.load(Path(path))
    if told is not None and digest(whole) != told:
        raise EosError(f"{path} is another operator than when the engine was started")
    return Reduction(ServingPlan.of(whole, inside=inside).taken(approximate), digest(whole), axes)
