"""The relaxed site again, for one image, with loops and float64: slow, obvious, written from its formulas alone."""

import math

import numpy as np
from selector_reference import cosine, windows

ORDER = ("last_text", "mean_text", "vision", "norm", "uniqueness")


def standard(values, share, scale=None):
    """Mean 0 and spread 1 under the weights ``share``; zeros where nothing varies."""
    values, n = np.asarray(values, dtype=np.float64), len(values)
    centred = values - sum(w * v for w, v in zip(share, values, strict=True))
    variance = sum(w * v * v for w, v in zip(share, centred, strict=True))
    square = sum(w * v * v for w, v in zip(share, values, strict=True)) if scale is None else scale
    if variance <= 1e-12 * square:
        return np.zeros(n)
    return np.clip(centred / math.sqrt(variance), -math.sqrt(n) - 1, math.sqrt(n) + 1)


def score(weights, features, x, presence):
    n, share = len(x), presence / presence.sum()
    own = {
        "norm": [np.linalg.norm(v) for v in x],
        "uniqueness": [
            1
            - sum(presence[j] * cosine(x[i], x[j]) for j in range(n) if j != i)
            / max(sum(presence[j] for j in range(n)) - presence[i], 1e-2)
            for i in range(n)
        ],
    } | features
    total = sum(w * standard(own[name], share) for name, w in zip(ORDER, weights, strict=True))
    return standard(total, share, sum(w * w for w in weights))


def degrees(s, presence, count, temperature):
    """sigmoid((s - theta) / T) with theta such that the degrees present add up to the count."""
    low, high = min(s) - 60 * temperature, max(s) + 60 * temperature
    for _ in range(200):
        theta = (low + high) / 2
        keep = [1 / (1 + math.exp(min(700.0, (theta - v) / temperature))) for v in s]
        if sum(p * k for p, k in zip(presence, keep, strict=True)) > count:
            low = theta
        else:
            high = theta
    return np.array(keep)


def relative(exponent, presence):
    """exp(e) over its mean, each token counting as far as it is present."""
    value = np.exp(np.asarray(exponent) - np.max(exponent))
    return value / (sum(p * v for p, v in zip(presence, value, strict=True)) / presence.sum())


def relax_one(site, x, size, origin, presence, features, grid, temperature, candidates=None):
    """(places of those handed on, y, sizes, presence) of one image; the selector is ``score``, soft."""
    n = len(x)
    weights = [float(w) for w in site.weights]
    count, gamma, tau, nu, rho = (float(getattr(site, name)) for name in ("count", "gamma", "tau", "nu", "rho"))
    s = score(weights, features, x, presence)
    few = list(range(n))
    if candidates is not None:
        few = sorted(sorted(few, key=lambda i: (presence[i] <= 0.5, -s[i], i))[:candidates])
    keep = np.zeros(n)
    keep[few] = degrees(s[few], presence[few], count, temperature)
    after = presence * keep
    given = gamma * presence * (1 - keep) * size
    if site.source == "importance":
        given = given * relative(s, presence)
    window = windows(grid, site.support.size)[0] if site.support.kind == "window" else None
    moved, mass = np.zeros_like(x), np.zeros(n)
    for i in range(n):
        to = [j for j in few if j != i and (window is None or window[origin[j]] == window[origin[i]])]
        if site.support.kind == "nearest":
            to = sorted(to, key=lambda j: -(cosine(x[i], x[j]) + math.log(after[j])))[: site.support.size]
        if not to:
            continue
        level = max(cosine(x[i], x[j]) / tau + max(1 / tau, 1.0) * math.log(after[j]) for j in to)
        share = {j: min(1.0, math.exp(min(0.0, cosine(x[i], x[j]) / tau - level))) for j in to}
        total = sum(share[j] * after[j] for j in to)
        for j in to:
            t = given[i] * share[j] * after[j] / total / size[j]
            moved[j] += t * x[i]
            mass[j] += t
    u = relative(rho * s[few], after[few])
    y = np.array([u[k] * (x[j] + moved[j]) / (1 + mass[j]) ** nu for k, j in enumerate(few)])
    return few, y, size[few] * (1 + mass[few]), after[few]
