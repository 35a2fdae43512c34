"""The operator again, for one image, with loops and float64: slow, obvious, written from the formulas alone."""

import math

import numpy as np
import selector_reference as select
from selector_reference import best, cosine, distance, overlapping, windows


def zscore(values, there, scale=None):
    """Over those there; no value is further off than n such could be."""
    values = np.asarray(values, dtype=np.float64)
    mean = values[there].mean() if len(there) else 0.0
    variance = np.mean((values[there] - mean) ** 2) if len(there) else 0.0
    square = np.mean(values[there] ** 2) if len(there) else 0.0
    if variance <= 1e-12 * (square if scale is None else scale):
        return np.zeros_like(values)
    limit = math.sqrt(len(values)) + 1
    return np.clip((values - mean) / math.sqrt(variance), -limit, limit)


def scaled(values, there):
    """Brought to [0, 1] over those there."""
    values = np.asarray(values, dtype=np.float64)
    if not len(there):
        return np.ones_like(values)
    low, high = values[there].min(), values[there].max()
    varies = high - low > 1e-6 * max(abs(values[there]))
    return np.clip((values - low) / (high - low), 0, 1) if varies else np.ones_like(values)


def with_own(features, x, there):
    n = len(x)
    others = [[j for j in there if j != i] for i in range(n)]
    return {
        "norm": [np.linalg.norm(v) for v in x],
        "uniqueness": [1 - sum(cosine(x[i], x[j]) for j in others[i]) / max(len(others[i]), 0.01) for i in range(n)],
    } | dict(features)


def usual(site, features, x, origin, there):
    """All features, the one that has a prior divided by what is usual at its place."""
    own = with_own(features, x, there)
    if site.prior is not None:
        places = site.prior.numbers
        own[site.prior.feature] = [
            v / max(places[o], 0.01) for v, o in zip(own[site.prior.feature], origin, strict=True)
        ]
    return own


def direction(site, features):
    """The probe as the question turns it."""
    if site.steering is None:
        return site.probe
    text, visual = (matrix.double().numpy() for matrix in site.steering.tensors())
    turned = np.array(site.probe)
    for reads, adds in zip(text, visual, strict=True):
        turned = turned + adds * np.dot(reads, np.asarray(features["question"], dtype=np.float64))
    return tuple(turned)


def score(weights, own, x, there, probe=(), mixing="sum"):
    total = np.zeros(len(x))
    if mixing == "product":
        factors = [scaled(own[name], there) if w > 0 else 1 - scaled(own[name], there) for name, w in weights.items()]
        sizes = [abs(w) for w in weights.values()]
        return zscore(np.prod([f**w for f, w in zip(factors, sizes, strict=True)], axis=0), there)
    for name, weight in weights.items():
        total += weight * zscore(own[name], there)
    probed = np.array([np.linalg.norm(probe) * cosine(v, np.array(probe)) if probe else 0.0 for v in x])
    return zscore(total + probed, there, sum(w**2 for w in weights.values()) + np.mean(probed**2))


def plain(site, own):
    """The weighted sum of the features as they are, at least 0."""
    total = sum(weight * np.asarray(own[name]) for name, weight in site.score.items())
    return np.maximum(total, 0.0)


def multiplied(site, s, raw, there):
    return np.maximum(raw, 1e-12) if site.weighing == "raw" else np.maximum(scaled(s, there), 1e-6)


def kept(site, x, c, s, own, features, grid, origin, there):
    """(those that stay, of these the destinations, those that give), without a summary's carrier. Tokens passed over
    stay last, the lowest index first."""
    n, r, among = len(x), site.keep - site.summary, site.transfer.among
    if site.keep == n:
        return list(range(n)), list(range(n)), []
    s = np.where(np.isin(np.arange(n), there), s, -1e30)
    important = best(s, site.important)
    rest = [i for i in range(n) if i not in important]
    wanted, over = r - len(important), [i for i in rest if i not in there]
    if site.exclude_padding and len(rest) - len(over) <= wanted:  # all that are there, and the first of the others
        few = wanted - (len(rest) - len(over))
        stay = sorted(important + [i for i in rest if i in there] + over[:few])
        givers = [i for i in range(n) if i not in stay]
        if site.transfer.among < 1:
            share = min(len(givers), math.floor(site.transfer.among * len(givers)) + 1) if among > 0 else 0
            givers = sorted(sorted(givers, key=lambda i: (-s[i], i))[:share])
        return stay, [i for i in stay if i not in important], givers
    rest = [i for i in rest if i in there]
    left, count, kind = c[rest], r - len(important), site.selector
    candidates = []
    raw = plain(site, own) if site.score else np.zeros(n)
    all_there = np.arange(len(rest))
    if kind == "density":
        picks, candidates = select.density(left, s[rest], count, among)
    elif count == 0:
        picks = []
    elif site.transfer.support.kind == "overlap":
        picks = overlapping(grid, count)[1]
    elif kind == "random":
        picks = best(np.random.default_rng(site.seed).random(len(rest)).astype(np.float32), count)
    else:
        picks = {
            "score": lambda: (
                best(s[rest], count)
                if site.quota is None
                else select.quota(site.quota, s[rest], raw[rest], [origin[i] for i in rest], count, grid)
            ),
            "coverage": lambda: select.coverage(
                site,
                left,
                count,
                scaled(s[rest], all_there),
                multiplied(site, s[rest], raw[rest], all_there),
                features["text_rows"],
            ),
            "suppress": lambda: select.suppress(site, left, s[rest], raw[rest], [origin[i] for i in rest], count, grid),
            "max_sum": lambda: select.max_sum(left, s[rest], count),
            "grid": lambda: select.grid(len(rest), count, grid),
            "alternate": lambda: select.alternate(left, count),
            "farthest": lambda: select.farthest(left, count),
            "diverse_topk": lambda: select.cover(
                left,
                s[rest] if site.weighing == "sum" else np.log(multiplied(site, s[rest], raw[rest], all_there)),
                site.spread,
                count,
            ),
            "spaced": lambda: select.spaced(len(rest), count),
            "bipartite": lambda: select.bipartite(left, s[rest], count),
            "pivots": lambda: select.pivots(left, s[rest], features["text_pivots"], count),
            "dpp": lambda: select.dpp(left, s[rest], count),
        }[kind]()
    destinations = [rest[i] for i in picks if kind != "alternate" or i % 2 == 1]
    stay = sorted(important + [rest[i] for i in picks])
    givers = [i for i in range(n) if i not in stay]
    if kind == "density" and among < 1:
        givers = sorted(rest[i] for i in candidates)
    elif among < 1:
        share = min(len(givers), math.floor(among * len(givers)) + 1) if among > 0 else 0
        givers = sorted(sorted(givers, key=lambda i: (-s[i], i))[:share])
    return stay, destinations, givers


def alike(site, a, b):
    return cosine(a, b) if site.transfer.metric == "cosine" else -distance(a, b)


def support(site, c, origin, i, allowed, grid):
    """Which of the kept tokens allowed to receive the dropped token i may go to."""
    kind, size = site.transfer.support.kind, site.transfer.support.size
    if kind == "window":
        cell = windows(grid, size)[0]
        return [j for j in allowed if cell[origin[j]] == cell[origin[i]]]
    if kind == "nearest":
        return sorted(allowed, key=lambda j: (-alike(site, c[i], c[j]), j))[:size]
    return list(allowed)


def shares(site, c, i, allowed):
    """P_ij over the allowed j."""
    tau = site.transfer.tau
    if tau == 0:
        first = min(allowed, key=lambda j: (-alike(site, c[i], c[j]), j))
        return {first: 1.0}
    logits = {j: 0.0 if math.isinf(tau) else alike(site, c[i], c[j]) / tau for j in allowed}
    top = max(logits.values())
    total = sum(math.exp(v - top) for v in logits.values())
    return {j: math.exp(v - top) / total for j, v in logits.items()}


def transfers(site, c, origin, stay, destinations, givers, grid):
    """P_ij of all pairs that have any: {(i, j): share}."""
    t, n = site.transfer, len(c)
    if t.by == "source":
        found = {}
        for i in givers:
            allowed = support(site, c, origin, i, stay if t.to == "all" else sorted(destinations), grid)
            found |= {(i, j): p for j, p in (shares(site, c, i, allowed) if allowed else {}).items()}
        return found
    if t.support.kind == "overlap":
        cells, middles = overlapping(grid, t.support.size)
        return {(i, j): 1.0 for cell, j in zip(cells, middles, strict=True) for i in cell if i != j}
    nearest = {
        j: sorted((i for i in range(n) if i != j), key=lambda i: (-alike(site, c[i], c[j]), i))[: t.support.size]
        for j in stay
    }
    return {(i, j): 1.0 for j in stay for i in nearest[j]}


def reduce_one(site, x, size, origin, features, grid):
    """One image: (kept indices, y, sizes)."""
    x, size = np.asarray(x, dtype=np.float64), np.asarray(size, dtype=np.float64)
    n, t = len(x), site.transfer
    there = [i for i in range(n) if not (site.exclude_padding and site.keep < n and features["padding"][i] > 0.5)]
    own = usual(site, features, x, origin, there)
    s = score(site.score, own, x, there, direction(site, features), site.mixing) if site.score else np.zeros(n)
    c = np.asarray(features["keys"], dtype=np.float64) if site.similarity == "keys" else x
    if site.similarity == "centred":
        c = x - (sum(x[there]) / len(there) if there else 0)
    stay, destinations, givers = kept(site, x, c, s, own, features, grid, origin, there)
    dropped = [i for i in range(n) if i not in stay]
    carrier = dropped[-1] if site.summary and dropped else None
    a = np.ones(n)
    if t.source == "importance":
        a = np.exp(s) / np.mean(np.exp(s))
    elif t.source == "attention":
        a = plain(site, own)
    a = np.where(np.isin(np.arange(n), there), a, 0.0)
    sums, mass = {j: np.zeros_like(x[j]) for j in stay}, dict.fromkeys(stay, 0.0)
    if dropped and stay:
        giving = [i for i in givers if i != carrier]
        for (i, j), p in transfers(site, c, origin, stay, destinations, giving, grid).items():
            t_ij = t.gamma * p * a[i] * size[i] / size[j]
            sums[j] += t_ij * x[i]
            mass[j] += t_ij
    u = {j: math.exp(site.rho * s[j]) for j in stay}
    mean = sum(u.values()) / max(len(u), 1)
    y, sizes = {}, {}
    for j in stay:
        moved = sums[j] / (mass[j] ** t.mu if mass[j] > 0 else 1.0)
        y[j] = u[j] / mean * (x[j] + moved) / (1 + mass[j]) ** t.nu
        sizes[j] = size[j] * (1 + mass[j])
    if carrier is not None:
        y[carrier] = sum(a[i] * x[i] for i in dropped)
        sizes[carrier] = sum(size[i] for i in dropped)
    stay = sorted(y)
    return stay, np.array([y[j] for j in stay]).reshape(len(stay), x.shape[1]), np.array([sizes[j] for j in stay])
