"""Layers that read tokens one after another (linear attention): who is not there must leave no trace in their state.

Such a layer mixes each token with the few before it (a convolution) and writes it into a state that fades from token to
token. Removed tokens are simply not read. Those that stay in their row all the same, fillers of a deployed operator and
tokens that fade from a relaxed one, are read first, before the state holds anything, and closed: so who is there finds
the same neighbours and the same state as if they were gone. Masks are of padding (b, k); there are no logits that a
bias could be added to: sizes count where a layer looks at tokens.

Legend: b batch, k tokens present, h heads, d width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eos_platform.models.attention.masks import take_keys
from eos_platform.models.runtime.token_state import TokenState
from eos_platform.operators.tokens import gather_tokens

FLOOR = 1e-9  # of a gate in a logarithm
HALF = 0.5  # from which presence on a token is read in its place


def padding(mask: Tensor | None, column_bk: Tensor, alive_bk: Tensor | None) -> Tensor | None:
    """Which of the tokens present are read: neither padding nor fillers (b, k); None: all.

    Args:
        mask: that the model hands such layers (b, s), or None.
        column_bk: which of its columns the tokens are.
        alive_bk: not fillers; None: there are none.
    """
    if mask is None:
        return None if alive_bk is None else alive_bk.long()
    mask = take_keys(mask, column_bk)
    return mask if alive_bk is None else mask * alive_bk


def fillers_first(
    present: TokenState, x_bkd: Tensor, mask: Tensor | None
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Order in which tokens are read, and hidden states and mask in it; no order where there are no fillers."""
    if present.alive_bk is None:
        return None, x_bkd, mask
    order_bk = ordered(present.alive_bk)
    return order_bk, gather_tokens(x_bkd, order_bk), None if mask is None else mask.gather(1, order_bk)


def ordered(there_bk: Tensor) -> Tensor:
    """An order of tokens (b, k) that has those that are not there first, and leaves it at that."""
    return torch.argsort(there_bk.to(torch.uint8), dim=1, stable=True)


def restored(x_bkd: Tensor, order_bk: Tensor) -> Tensor:
    """Tokens that were put in an order, in their places again."""
    return gather_tokens(x_bkd, torch.argsort(order_bk, dim=1))


class Gates:
    """Hooks inside one layer of linear attention (the gated delta rule) that let tokens in as far as they are there.

    A token's part of the convolution, how much it writes and erases, and how much the state fades with it are all
    multiplied by its gate: what the kernels do with them is theirs.
    """

    def __init__(self, mixer: Any) -> None:
        self.gate_bk: Tensor | None = None
        self.bias = mixer.dt_bias
        self._hooks = [
            mixer.in_proj_qkv.register_forward_hook(self._convolved),
            mixer.in_proj_b.register_forward_hook(self._written),
            mixer.in_proj_a.register_forward_hook(self._faded),
        ]

    def remove(self) -> None:
        """Take the hooks off again."""
        for hook in self._hooks:
            hook.remove()

    def _convolved(self, module: Any, args: Any, output_bkd: Tensor) -> Tensor | None:
        return None if self.gate_bk is None else output_bkd * self.gate_bk[..., None].to(output_bkd.dtype)

    def _written(self, module: Any, args: Any, output_bkh: Tensor) -> Tensor | None:
        """What the layer makes shares of by a sigmoid: such that the share is multiplied."""
        if self.gate_bk is None:
            return None
        gate_bk1, x_bkh = self.gate_bk[..., None].float().clamp_min(FLOOR), output_bkh.float()
        rest_bkh = (1 - gate_bk1) * x_bkh.sigmoid() + (-x_bkh).sigmoid()
        return (gate_bk1.log() + nn.functional.logsigmoid(x_bkh) - rest_bkh.log()).to(output_bkh.dtype)

    def _faded(self, module: Any, args: Any, output_bkh: Tensor) -> Tensor | None:
        """What the layer adds a bias to and makes rates of by a softplus: such that the rate is multiplied."""
        if self.gate_bk is None:
            return None
        bias_h = self.bias.float()
        gate_bk1 = self.gate_bk[..., None].float().clamp_min(FLOOR)
        rate_bkh = gate_bk1 * nn.functional.softplus(output_bkh.float() + bias_h)
        return (rate_bkh + (-torch.expm1(-rate_bkh)).log() - bias_h).to(output_bkh.dtype)
