"""Pruning methods as their papers and code describe them, for one picture, with loops: what stays, untouched."""

import numpy as np
from plain import Picture, closest, cosine, ranked, same


def top(picture: Picture, attention, keep):
    """FastV, PyramidDrop, SparseVLM 2: the most attended tokens."""
    return picture.only(ranked(attention)[:keep])


def withdraw(picture: Picture):
    """VTW, zero: nothing."""
    return picture.only([])


def vispruner(picture: Picture, attention, keep, important):
    """The most attended first; then the rest, in order of attention, lose their most doubled tokens, 8 at a time."""
    order = ranked(attention)
    first, rest = order[:important], order[important:]
    alike = [[cosine(a, b) for b in picture.x] for a in picture.x]
    while len(rest) > keep - important:
        even, odd = rest[0::2], rest[1::2]
        drop = min(8, len(rest) - (keep - important), len(even))
        likeness = [max((alike[i][j] for j in odd), default=-2.0) for i in even]
        doubled = [even[k] for k in ranked(likeness)]
        rest = doubled[drop:] + odd
    return picture.only(first + rest)


def divprune(picture: Picture, keep):
    """The token farthest from its nearest neighbour; then always the one farthest from all picked."""
    n = len(picture)
    distance = [[1 - cosine(picture.x[i], picture.x[j]) for j in range(n)] for i in range(n)]
    picked = [ranked([min((distance[i][j] for j in range(n) if j != i), default=0.0) for i in range(n)])[0]]
    while len(picked) < keep:
        gaps = {i: min(distance[i][j] for j in picked) for i in range(n) if i not in picked}
        picked.append(closest(gaps))
    return picture.only(picked)


def dart(picture: Picture, key_norm, text_pivots, keep):
    """Four tokens with the largest keys; they and four text tokens each keep the tokens least like them."""
    pivots = ranked(key_norm)[: min(4, keep)]
    stay, vectors = set(pivots), [picture.x[i] for i in pivots] + list(text_pivots)
    if keep <= 4:
        return picture.only(stay)
    each, left = divmod(keep - 4, len(vectors))
    for number, vector in enumerate(vectors):
        unlike = {i: -cosine(picture.x[i], vector) for i in range(len(picture))}
        for _ in range(each + (number < left)):
            stay.add(closest({i: value for i, value in unlike.items() if i not in stay}))
    return picture.only(stay)


def cdpruner(picture: Picture, relevance, keep):
    """The set that a determinantal point process finds most probable, grown one by one: by determinants.

    The kernel's determinant is that of the cosines times every weight squared. Tokens in the span of those picked add
    nothing to it; when only such are left, the lowest indices follow.
    """
    n, picked, spanning = len(picture), [], []
    low, high = min(relevance), max(relevance)
    weight = [(r - low) / (high - low) if high > low else 1.0 for r in relevance]
    cosines = np.array([[cosine(picture.x[i], picture.x[j]) for j in range(n)] for i in range(n)])
    while len(picked) < keep:
        volume = np.linalg.det(cosines[np.ix_(spanning, spanning)])
        gain = {}
        for i in range(n):
            if i not in picked:
                grown = [*spanning, i]
                outside = np.linalg.det(cosines[np.ix_(grown, grown)]) / volume
                gain[i] = same(weight[i] ** 2 * outside) if outside > 1e-5 else 0.0
        picked.append(closest(gain))
        if gain[picked[-1]] > 0:
            spanning.append(picked[-1])
    return picture.only(picked)
