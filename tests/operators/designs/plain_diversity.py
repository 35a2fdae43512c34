"""Methods that keep what is unlike, or what covers the rest, as described, for one picture, with loops: untouched."""

import math

import numpy as np
from plain import Picture, closest, cosine, ranked, same


def span(values):
    """Brought to [0, 1]."""
    low, high = min(values), max(values)
    return [(v - low) / (high - low) if high > low else 1.0 for v in map(float, values)]


def centred(x):
    mean = sum(x) / len(x)
    return [v - mean for v in x]


def multiplied(x, weight, keep):
    """First the largest weight, then always the largest product of weight and distance to those picked."""
    weight = [max(w, 1e-6) for w in weight]
    picked = [ranked(weight)[0]]
    while len(picked) < keep:
        worth = {}
        for i in range(len(x)):
            if i not in picked:
                worth[i] = same(weight[i] * max(min(1 - cosine(x[i], x[j]) for j in picked), 1e-3))
        picked.append(closest(worth))
    return picked


def cen_divprune(picture: Picture, uniqueness, keep):
    return picture.only(multiplied(centred(picture.x), span(uniqueness), keep))


def zoo_prune(picture: Picture, sensitivity, keep):
    return picture.only(multiplied(picture.x, span(sensitivity), keep))


def cen_cdpruner(picture: Picture, relevance, uniqueness, keep):
    """A determinantal point process of centred cosines, weighed by both, by determinants (see ``cdpruner``)."""
    x, n, picked, spanning = centred(picture.x), len(picture), [], []
    weight = span([r * u for r, u in zip(span(relevance), span(uniqueness), strict=True)])
    cosines = np.array([[cosine(x[i], x[j]) for j in range(n)] for i in range(n)])
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


def added(rows, best, j):
    return sum(max(0.0, row[j] - b) for row, b in zip(rows, best, strict=True))


def covered(rows, n, worth, keep):
    """Greedily the token of the largest worth(j, gain of j, picked); of values 1e-5 apart the lower index."""
    best, picked = [0.0] * len(rows), []
    while len(picked) < keep:
        free = [j for j in range(n) if j not in picked]
        value = worth({j: added(rows, best, j) for j in free}, picked)
        top = max(value.values())
        picked.append(min(j for j in free if value[j] >= top - 1e-5 * abs(top)))
        best = [max(b, row[picked[-1]]) for row, b in zip(rows, best, strict=True)]
    return picked


def scope(picture: Picture, attention, keep):
    rows = [[cosine(a, b) for b in picture.x] for a in picture.x]

    def worth(gain, picked):
        return {j: g * max(float(attention[j]), 1e-12) for j, g in gain.items()}

    return picture.only(covered(rows, len(picture), worth, keep))


def softmax(values):
    value = [math.exp(v - max(values)) for v in values]
    return [v / sum(value) for v in value]


def mmtok(picture: Picture, text, keep):
    """Words of the question and half as much the picture itself are to be covered."""
    words, n = [t for t in text if np.any(t != 0)], len(picture)
    rows = [[v / len(words) for v in softmax([cosine(t, x) / 0.02 for x in picture.x])] for t in words]
    rows += [[0.5 * v / n for v in softmax([cosine(a, b) / 0.2 for b in picture.x])] for a in picture.x]
    return picture.only(covered(rows, n, lambda gain, picked: gain, keep))


def tops(picture: Picture, attention, keep):
    alike = [[cosine(a, b) for b in picture.x] for a in picture.x]
    r = span(attention)

    def worth(gain, picked):
        if not picked:
            return {j: r[j] for j in gain}
        far = {j: 1 - max(alike[j][k] for k in picked) for j in gain}
        return {j: r[j] + a + b for j, a, b in zip(gain, steady(gain), steady(far), strict=True)}

    return picture.only(covered(alike, len(picture), worth, keep))


def steady(values):
    """Brought to [0, 1], unless only rounding varies."""
    values = list(values.values())
    if max(values) - min(values) <= 1e-6 * max(map(abs, values)):
        return [1.0] * len(values)
    return span(values)


def holov(picture: Picture, attention, keep, strips):
    """Strips share the count by their mean attention; what one cannot use goes to the best elsewhere."""
    n = len(picture)
    members = [[i for i in ranked(attention) if i * strips // n == g] for g in range(strips)]
    means = [sum(float(attention[i]) for i in one) / max(len(one), 1) for one in members]
    share = [m / sum(means) if sum(means) > 0 else 1 / strips for m in means]
    quota = [math.floor(keep * s + 1e-5) for s in share]
    for g in ranked([same(s) for s in share])[: keep - sum(quota)]:
        quota[g] += 1
    stay = [i for one, many in zip(members, quota, strict=True) for i in one[:many]]
    stay += [i for i in ranked(attention) if i not in stay][: keep - len(stay)]
    return picture.only(stay)


def nuwa(picture: Picture, attention, keep, quota):
    """The best of the tokens that are among the ``cap`` best of their window."""
    from eos_platform.operators.grid import layout

    grid = {48: (6, 8), 25: (5, 5), 15: (3, 5), 7: (1, 7), 2: (1, 2), 576: (24, 24)}[len(picture)]
    window = layout(grid, quota.groups).window
    first = []
    for i in ranked(attention):
        if sum(window[i] == window[j] for j in first) < quota.cap:
            first.append(i)
    return picture.only((first + [i for i in ranked(attention) if i not in first])[:keep])
