"""Ranking of points with several objectives: layers of non-domination, and within a layer those that stand apart first.

``losses_nm`` are n points of m objectives, less is better. The order depends on the points and their keys alone, never
on when they came. Layers after Deb et al. (NSGA-II, 2002); the epsilon net after Salinas et al. (2021), as in
multi-objective ASHA (Schmucker et al., arXiv 2106.12639).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

TieBreak = Literal["epsilon-net", "crowding"]


def layers(losses_nm: np.ndarray) -> np.ndarray:
    """The layer of each point (n,): 0 is the front, 1 the front of the rest, and so on.

    Equal points share a layer. Points with an unknown objective (NaN) come in a layer of their own, after all others.
    """
    layer_n = np.full(len(losses_nm), -1)
    known = ~np.isnan(losses_nm).any(1)
    less_nn = (losses_nm[:, None] <= losses_nm[None]).all(2) & (losses_nm[:, None] < losses_nm[None]).any(2)
    left, layer = known.copy(), 0
    while left.any():
        dominated = (less_nn & left[:, None]).any(0)
        layer_n[left & ~dominated] = layer
        left &= dominated
        layer += 1
    layer_n[~known] = layer
    return layer_n


def best_first(losses_nm: np.ndarray, keys: Sequence[int], tie_break: TieBreak = "epsilon-net") -> list[int]:
    """Positions of the points from the best to the worst.

    Args:
        keys: one a point, all different; what is still equal goes by them, the lower first.
        tie_break: which points of a layer come first. ``epsilon-net``: the best in the first objective, then always the
            one furthest from those taken; ``crowding``: those with the most room between their neighbours.
    """
    layer_n, order = layers(losses_nm), []
    for layer in range(layer_n.max(initial=-1) + 1):
        members = sorted(np.flatnonzero(layer_n == layer), key=lambda row: keys[int(row)])
        inside_km = _scaled(losses_nm[members])
        spread = _epsilon_net(inside_km) if tie_break == "epsilon-net" else _by_crowding(inside_km)
        order += [int(members[position]) for position in spread]
    return order


def _scaled(losses_km: np.ndarray) -> np.ndarray:
    """Each objective from 0 to 1 within the layer: accuracy and compute have units of their own."""
    if np.isnan(losses_km).any():  # nothing is known that could tell them apart
        return np.zeros_like(losses_km)
    low, high = losses_km.min(0), losses_km.max(0)
    return (losses_km - low) / np.where(high > low, high - low, 1.0)


def _epsilon_net(scaled_km: np.ndarray) -> list[int]:
    """Farthest-first, from the best in the first objective (of those, in the next, and so on)."""
    first = int(np.lexsort(scaled_km.T[::-1])[0])
    taken, nearest_k = [first], np.linalg.norm(scaled_km - scaled_km[first], axis=1)
    nearest_k[first] = -1.0
    while len(taken) < len(scaled_km):
        further = int(nearest_k.argmax())  # the first of equals: the lower key
        taken.append(further)
        nearest_k = np.minimum(nearest_k, np.linalg.norm(scaled_km - scaled_km[further], axis=1))
        nearest_k[taken] = -1.0
    return taken


def _by_crowding(scaled_km: np.ndarray) -> list[int]:
    """By falling crowding distance; the ends of every objective have all the room there is, copies have none."""
    different_um, first_u = np.unique(scaled_km, axis=0, return_index=True)
    room_u = np.zeros(len(different_um))
    for loss_u in different_um.T:
        order = np.argsort(loss_u, kind="stable")
        room_u[order[[0, -1]]] = np.inf
        room_u[order[1:-1]] += loss_u[order[2:]] - loss_u[order[:-2]]
    room_k = np.full(len(scaled_km), -1.0)
    room_k[first_u] = room_u
    return [int(position) for position in np.argsort(-room_k, kind="stable")]
