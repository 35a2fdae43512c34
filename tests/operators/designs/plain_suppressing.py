"""Methods that leave out what is too like a better token, or that stage what stays, for one picture, with loops."""

import math
from fractions import Fraction

import numpy as np
from plain import Picture, cosine, ranked, same


def d2pruner(picture: Picture, attention, keep, important, theta):
    """The most attended first; of the rest the best of which no two are alike; then the best of the others."""
    order = ranked(attention)
    stay, rest, apart = order[:important], order[important:], []
    for i in rest:
        if all(cosine(picture.x[i], picture.x[j]) <= theta for j in apart):
            apart.append(i)
    return picture.only((stay + apart + [i for i in rest if i not in apart])[:keep])


def todre(picture: Picture, attention, keep):
    picked = [ranked(attention)[0]]
    while len(picked) < keep:
        alike = {
            i: same(sum(cosine(picture.x[i], picture.x[j]) for j in picked))
            for i in range(len(picture))
            if i not in picked
        }
        picked.append(min(alike, key=lambda i: (alike[i], i)))
    return picture.only(picked)


def components(x, groups):
    """Of the matrix whose columns are squashed tokens, less each column's mean: who weighs where in its singular
    vectors."""
    columns = np.array([1 / (1 + np.exp(-v)) for v in x]).T
    columns = columns - columns.mean(axis=0)
    _, _, vectors = np.linalg.svd(columns, full_matrices=True)
    return [int(np.argmax(np.abs(vectors[:groups, i]))) for i in range(len(x))]


def prunesid(picture: Picture, attention, keep):
    n, groups = len(picture), max(1, int(keep / 4))
    component = components(picture.x, min(groups, n))
    alike = [[cosine(a, b) for b in picture.x] for a in picture.x]
    pairs = [alike[i][j] for i in range(n) for j in range(i)]
    theta = keep / 32 * (sum(pairs) / len(pairs) if pairs else 0.0)
    order, alive = [], []
    for g in range(groups):
        members = [i for i in ranked(attention) if component[i] == g]
        best = []
        for i in members:
            if all(alike[i][j] <= theta for j in best):
                best.append(i)
        alive.append(len(best))
        order.append(best + [i for i in members if i not in best])
    sizes = [len(one) for one in order]
    most = [min(5 * math.ceil(keep / 64), size, many) for size, many in zip(sizes, alive, strict=True)]
    while sum(most) < keep:
        most = [min(bound + 1, size) for bound, size in zip(most, sizes, strict=True)]
    least = [min(1, size) for size in sizes]
    rest, given, so_far = keep - sum(least), [], 0
    for many in np.cumsum(alive):
        upto = round(Fraction(int(many) * rest, sum(alive)))
        given.append(upto - so_far)
        so_far = upto
    quota = [min(a + b, bound) for a, b, bound in zip(least, given, most, strict=True)]
    for g in ranked(alive):
        quota[g] += min(most[g] - quota[g], keep - sum(quota))
    return picture.only([i for one, many in zip(order, quota, strict=True) for i in one[:many]])
