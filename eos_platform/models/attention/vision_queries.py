"""What a block of the vision tower says about the visual tokens, recomputed from its own projections.

Legend: m images, n visual tokens present, k = 1 + n with the class token in front, d width, h heads, e head width.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.attention.patch_queries import projected, received
from eos_platform.models.loading.devices import moved

READ = ("vision", "next_vision", "keys", "received", "flow")  # in this order
ROWS = ("vision", "next_vision", "flow")  # for which the class token is a query


def read_block(
    attention: Any, x_mkd: Tensor, names: Collection[str], bias_mk: Tensor | None = None
) -> dict[str, Tensor]:
    """Those of ``READ`` that are named, as this block has them.

    ``vision`` (m, n) is how much the class token looks at each visual token, mean over heads; ``next_vision`` the same
    with all heads taken as a single wide one; ``keys`` (m, n, e) the key of each visual token, mean over heads;
    ``received`` (m, n) what all tokens, the class token too, look at it on average; ``flow`` (m, n), see ``_flow``.

    Args:
        attention: the block's attention module.
        x_mkd: the attention's input, class token first.
        names: what to read.
        bias_mk: what the block adds to the logits of each key.
    """
    wanted = [name for name in READ if name in names]
    features: dict[str, Tensor] = {}
    if not wanted:
        return features
    width = attention.head_dim
    key_mkd = moved(attention.k_proj(x_mkd), x_mkd.device)
    query_m1d = moved(attention.q_proj(x_mkd[:, :1]), x_mkd.device) if set(ROWS) & set(wanted) else None
    for name in wanted:
        if name == "received":
            mask = None if bias_mk is None else bias_mk[:, None, None]
            query_mkhe, key_mkhe = (moved(one, x_mkd.device) for one in projected(attention, x_mkd))
            features[name] = received(query_mkhe, key_mkhe, width**-0.5, mask)[:, 1:]
        elif name == "flow":
            assert query_m1d is not None
            value_mkd = moved(attention.v_proj(x_mkd), x_mkd.device)
            features[name] = _flow(_class_row(query_m1d, key_mkd, width, bias_mk), value_mkd, width)
        elif query_m1d is None or name == "keys":
            features[name] = key_mkd[:, 1:].unflatten(-1, (-1, width)).float().mean(2)
        else:
            features[name] = _class_row(query_m1d, key_mkd, width if name == "vision" else key_mkd.shape[-1], bias_mk)
    return features


def _flow(row_mn: Tensor, value_mkd: Tensor, width: int) -> Tensor:
    """How much of what flows to the class token comes from each visual token (m, n; FlowCut, arXiv 2505.19536).

    The class token's attention and the softmax of products of values with its own, each brought to sum to 1 over the
    visual tokens, added up; times the L1 norm of the value. Values are means over heads.
    """
    value_mke = value_mkd.unflatten(-1, (-1, width)).float().mean(2)
    alike_mn = torch.einsum("me,mne->mn", value_mke[:, 0], value_mke[:, 1:]).softmax(-1)
    return (row_mn / row_mn.sum(-1, keepdim=True) + alike_mn) * value_mke[:, 1:].abs().sum(-1)


def _class_row(query_m1d: Tensor, key_mkd: Tensor, width: int, bias_mk: Tensor | None) -> Tensor:
    query_mqhe, key_mkhe = query_m1d.unflatten(-1, (-1, width)), key_mkd.unflatten(-1, (-1, width))
    logits_mhqk = torch.einsum("mqhe,mkhe->mhqk", query_mqhe, key_mkhe).float() * width**-0.5
    if bias_mk is not None:
        logits_mhqk = logits_mhqk + bias_mk[:, None, None]
    return logits_mhqk.softmax(-1).mean(1)[:, 0, 1:]
