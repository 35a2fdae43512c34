"""The operator again, for one image, with loops and float64: slow, obvious, written from the formulas alone."""

import math

import numpy as np


def cosine(a, b):
    length = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / length) if length else 0.0


def zscore(values, scale=None):
    values = np.asarray(values, dtype=np.float64)
    variance = np.mean((values - values.mean()) ** 2)
    if variance <= 1e-12 * (np.mean(values**2) if scale is None else scale):
        return np.zeros_like(values)
    return (values - values.mean()) / math.sqrt(variance)


def score(weights, features, x):
    n = len(x)
    own = {
        "norm": [np.linalg.norm(v) for v in x],
        "uniqueness": [1 - sum(cosine(x[i], x[j]) for j in range(n) if j != i) / max(n - 1, 1) for i in range(n)],
    }
    total = np.zeros(n)
    for name, weight in weights.items():
        total += weight * zscore(features[name] if name in features else own[name])
    return zscore(total, sum(w**2 for w in weights.values()))


def best(values, keep):
    """The ``keep`` largest, the lower index first among equals."""
    return sorted(sorted(range(len(values)), key=lambda i: (-values[i], i))[:keep])


def windows(grid, size):
    """Window of each cell and middle cell of each window, where ``size`` equal windows exist; else None."""
    rows, columns = grid
    options = []
    for down in range(1, rows + 1):
        if size % down == 0 and rows % down == 0 and columns % (size // down) == 0:
            tall, wide = rows // down, columns // (size // down)
            options.append((abs(math.log(tall / wide)), tall, wide))
    if not options:
        return None
    _, tall, wide = min(options)
    across = columns // wide
    cell = [(i // columns) // tall * across + (i % columns) // wide for i in range(rows * columns)]
    middle = [
        (w // across * tall + (tall - 1) // 2) * columns + w % across * wide + (wide - 1) // 2 for w in range(size)
    ]
    return cell, middle


def kept(site, x, s, grid):
    n, r = len(x), site.keep
    if r == n:
        return list(range(n))
    if site.selector == "score":
        return best(s, r)
    if site.selector == "grid":
        if n == grid[0] * grid[1] and windows(grid, r):
            return windows(grid, r)[1]
        return [((2 * j + 1) * n) // (2 * r) for j in range(r)]
    if site.selector == "alternate":
        odd = list(range(1, n, 2))
        even = sorted(range(0, n, 2), key=lambda i: (max((cosine(x[i], x[j]) for j in odd), default=-2), i))
        return sorted(odd + even[: r - len(odd)])
    if site.selector == "farthest":
        nearest = [min((1 - cosine(x[i], x[j]) for j in range(n) if j != i), default=0.0) for i in range(n)]
        picked = best(nearest, 1)
        while len(picked) < r:
            rest = [i for i in range(n) if i not in picked]
            picked.append(max(rest, key=lambda i: (min(1 - cosine(x[i], x[j]) for j in picked), -i)))
        return sorted(picked)
    raise AssertionError(site.selector)


def support(site, x, origin, i, stay, grid):
    """Which kept tokens the dropped token i may go to."""
    kind, size = site.transfer.support.kind, site.transfer.support.size
    if kind == "window":
        cell = windows(grid, size)[0]
        return [j for j in stay if cell[origin[j]] == cell[origin[i]]]
    if kind == "nearest":
        return sorted(stay, key=lambda j: (-cosine(x[i], x[j]), j))[:size]
    return list(stay)


def shares(tau, x, i, allowed):
    """P_ij over the allowed j."""
    if tau == 0:
        first = min(allowed, key=lambda j: (-cosine(x[i], x[j]), j))
        return {first: 1.0}
    logits = {j: 0.0 if math.isinf(tau) else cosine(x[i], x[j]) / tau for j in allowed}
    top = max(logits.values())
    total = sum(math.exp(v - top) for v in logits.values())
    return {j: math.exp(v - top) / total for j, v in logits.items()}


def reduce_one(site, x, size, origin, features, grid, stay=None):
    """One image: (kept indices, y, sizes)."""
    x, size = np.asarray(x, dtype=np.float64), np.asarray(size, dtype=np.float64)
    n, t = len(x), site.transfer
    s = score(site.score, features, x) if site.score else np.zeros(n)
    stay = kept(site, x, s, grid) if stay is None else stay
    a = np.exp(s) / np.mean(np.exp(s)) if t.source == "importance" else np.ones(n)
    sums = {j: x[j].copy() for j in stay}
    mass = dict.fromkeys(stay, 1.0)
    for i in range(n):
        if i in mass:
            continue
        allowed = support(site, x, origin, i, stay, grid)
        for j, p in (shares(t.tau, x, i, allowed) if allowed else {}).items():
            t_ij = t.gamma * p * a[i] * size[i] / size[j]
            sums[j] += t_ij * x[i]
            mass[j] += t_ij
    u = {j: math.exp(site.rho * s[j]) for j in stay}
    mean = sum(u.values()) / max(len(u), 1)
    y = [u[j] / mean * sums[j] / mass[j] ** t.nu for j in stay]
    return stay, np.array(y).reshape(len(stay), x.shape[1]), np.array([size[j] * mass[j] for j in stay])
