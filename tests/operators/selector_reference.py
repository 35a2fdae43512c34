"""The selectors again, for one image, with loops and float64: slow, obvious, written from the formulas alone."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np


def cosine(a, b):
    length = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / length) if length else 0.0


def distance(a, b):
    return math.sqrt(sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True)) / len(a))


def best(values, keep):
    """The ``keep`` largest in ascending order, the lower index first among equals."""
    return sorted(ranking(values)[:keep])


def ranking(values):
    return sorted(range(len(values)), key=lambda i: (-values[i], i))


def cover(x, s, spread, count):
    """Picks: the best of what it scores and how far it is from those picked, one after the other."""
    picks = []
    while len(picks) < count:
        worth = {}
        for i in range(len(x)):
            if i not in picks:
                far = min((math.log(max(1 - cosine(x[i], x[j]), 1e-3)) for j in picks), default=math.log(2))
                worth[i] = s[i] + spread * min(far, math.log(2))
        picks.append(max(worth, key=lambda i: (worth[i], -i)))
    return picks


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


def overlapping(grid, size):
    """Cells of each window of adaptive pooling and its middle cell; None where no shape has ``size`` windows."""
    rows, columns = grid
    options = []
    for down in range(1, rows + 1):
        for across in range(1, columns + 1):
            if down * across == size:
                tall, wide = rows * across, columns * down  # a window is rows / down by columns / across
                options.append((max(tall, wide) / min(tall, wide), tall, down, across))
    if not options:
        return None
    _, _, down, across = min(options)
    cells, middles = [], []
    for i in range(down):
        for k in range(across):
            band = range(math.floor(i * rows / down), math.ceil((i + 1) * rows / down))
            stripe = range(math.floor(k * columns / across), math.ceil((k + 1) * columns / across))
            cells.append([r * columns + c for r in band for c in stripe])
            middles.append(band[(len(band) - 1) // 2] * columns + stripe[(len(stripe) - 1) // 2])
    assert all(a < b for a, b in pairwise(middles))
    return cells, middles


def grid(n, keep, shape):
    if n == shape[0] * shape[1] and windows(shape, keep):
        return windows(shape, keep)[1]
    return [((2 * j + 1) * n) // (2 * keep) for j in range(keep)]


def alternate(c, keep):
    """All odd places, then the even ones least like any odd one."""
    odd = list(range(1, len(c), 2))
    even = sorted(range(0, len(c), 2), key=lambda i: (max((cosine(c[i], c[j]) for j in odd), default=-2), i))
    return sorted((odd + even)[:keep])


def farthest(c, keep):
    n = len(c)
    nearest = [min((1 - cosine(c[i], c[j]) for j in range(n) if j != i), default=0.0) for i in range(n)]
    picked = best(nearest, 1)
    while len(picked) < keep:
        rest = [i for i in range(n) if i not in picked]
        picked.append(max(rest, key=lambda i: (min(1 - cosine(c[i], c[j]) for j in picked), -i)))
    return sorted(picked)


def spaced(n, keep):
    return [j * max(1, n // keep) for j in range(keep)]


def bipartite(c, s, keep):
    listed = ranking(s)
    while len(listed) > keep:
        even, odd = listed[::2], listed[1::2]
        go = min(8, len(listed) - keep, len(even))
        # sorted() keeps the order of equals
        even = sorted(even, key=lambda i: -max(cosine(c[i], c[j]) for j in odd))
        listed = even[go:] + odd
    return sorted(listed)


def density(c, s, keep, among):
    """The centres, and the other candidates."""
    n = len(c)
    if among == 1:
        candidates = list(range(n))
    else:
        share = min(n, math.floor(among * n) + 1) if among > 0 else 0
        candidates = best(s, max(share, keep))
    apart = {(i, j): distance(c[i], c[j]) for i in candidates for j in candidates}
    dense, value = {}, {}
    for i in candidates:
        near = sorted(apart[i, j] for j in candidates)[:keep]
        dense[i] = math.exp(-sum(d * d for d in near) / max(len(near), 1))
    for i in candidates:
        denser = [apart[i, j] for j in candidates if (dense[j], -j) > (dense[i], -i)]
        value[i] = dense[i] * (min(denser) if denser else max(apart.values()))
    centres = sorted(candidates, key=lambda i: (-value[i], i))[:keep]
    return sorted(centres), sorted(set(candidates) - set(centres))


def pivots(x, s, text, keep):
    order = ranking(s)
    if keep <= 4:
        return sorted(order[:keep])
    picked = order[:4]
    directions = [x[i] for i in picked] + list(text)
    for turn, pivot in enumerate(directions):
        for _ in range((keep - 4) // len(directions) + (turn < (keep - 4) % len(directions))):
            free = [i for i in range(len(x)) if i not in picked]
            picked.append(min(free, key=lambda i: (cosine(x[i], pivot), i)))
    return sorted(picked)


def dpp(c, s, keep):
    """What a pick adds is read off the kernel's determinants, by solving for what lies in the span of those before."""
    n = len(c)
    r = (s - s.min()) / (s.max() - s.min()) if s.max() > s.min() else np.ones(n)
    similar = np.array([[cosine(a, b) for b in c] for a in c])
    picked, span = [], []
    while len(picked) < keep:
        gain = {}
        for i in (i for i in range(n) if i not in picked):
            known = similar[np.ix_(span, span)]
            left = float(np.any(c[i] != 0)) - (
                similar[i, span] @ np.linalg.solve(known, similar[span, i]) if span else 0.0
            )
            gain[i] = (left > 1e-5, r[i] ** 2 * left if left > 1e-5 else 0.0)
        pick = max(gain, key=lambda i: (gain[i][1], -i))
        span += [pick] if gain[pick][0] else []
        picked.append(pick)
    return sorted(picked)


def coverage(site, c, count, share, factor, text):
    """Picks, one by one: how much better each row would be covered, by the score or beside it."""
    rule, n = site.coverage, len(c)
    rows = []
    for i in range(n):
        likes = np.array([cosine(c[i], c[j]) for j in range(n)])
        if rule.visual > 0:
            rows.append(rule.visual * (softmax(likes / rule.temperature) / n if rule.temperature else likes))
    asking = [t for t in np.asarray(text, dtype=np.float64) if np.any(t != 0)]
    for t in asking if rule.text > 0 else []:
        likes = np.array([cosine(t, c[j]) for j in range(n)])
        likes = softmax(likes / rule.text_temperature) / len(asking) if rule.text_temperature else likes
        rows.append(rule.text * likes)
    best_so_far, picks = np.zeros(len(rows)), []
    scored = any(site.score.values())
    while len(picks) < count:
        free = [j for j in range(n) if j not in picks]
        gain = {j: sum(max(0.0, row[j] - b) for row, b in zip(rows, best_so_far, strict=True)) for j in free}
        far = {j: min([2.0] + [1 - cosine(c[j], c[k]) for k in picks]) for j in free}
        if not scored:
            value = gain
        elif site.weighing != "sum":
            value = {j: gain[j] * factor[j] ** rule.power for j in free}
        elif not picks:
            value = {j: share[j] for j in free}
        else:
            gain, far = between(gain), between(far)
            value = {j: share[j] + rule.weight * gain[j] + site.spread * far[j] for j in free}
        top = max(value.values())
        pick = min(j for j in free if value[j] >= top - 1e-5 * abs(top))
        picks.append(pick)
        best_so_far = np.array([max(b, row[pick]) for row, b in zip(rows, best_so_far, strict=True)])
    return picks


def softmax(values):
    value = np.exp(values - values.max())
    return value / value.sum()


def between(values):
    low, high = min(values.values()), max(values.values())
    varies = high - low > 1e-6 * max(abs(low), abs(high))
    return {key: (value - low) / (high - low) if varies else 1.0 for key, value in values.items()}


def quota(rule, s, raw, origin, count, grid):
    """Each group gives its best, as many as its quota; then the best of all within the cap; then the best of all."""
    cells, groups = grid[0] * grid[1], min(rule.groups, grid[0] * grid[1])
    cell = windows(grid, groups)[0] if rule.kind == "windows" else [i * groups // cells for i in range(cells)]
    members = [[i for i in ranking(s) if cell[origin[i]] == g] for g in range(groups)]
    share = [1 / groups] * groups
    if rule.share == "mean":
        means = [sum(raw[i] for i in one) / max(len(one), 1) for one in members]
        share = [mean / sum(means) if sum(means) > 0 else 1 / groups for mean in means]
    quotas = [0] * groups
    if rule.share != "none":
        quotas = [math.floor(part * count + 1e-5) for part in share]
        for g in ranking(share)[: count - sum(quotas)]:
            quotas[g] += 1
    cap = rule.cap or len(s)
    first = [i for one, many in zip(members, quotas, strict=True) for i in one[: min(many, cap)]]
    second = [i for one in members for i in one[:cap]]
    order = []
    for level in (first, second, range(len(s))):
        order += sorted((i for i in level if i not in order), key=lambda i: (-s[i], i))
    return sorted(order[:count])


def max_sum(c, s, count):
    picks = ranking(s)[:1]
    while len(picks) < count:
        alike = {i: sum(cosine(c[i], c[j]) for j in picks) for i in range(len(c)) if i not in picks}
        picks.append(min(alike, key=lambda i: (alike[i], i)))
    return picks


def suppress(site, c, s, raw, origin, count, grid):
    """Best first, and none too like one that stays; those left out follow. With a quota, within each group."""
    rule, quotas, n = site.suppress, site.quota, len(c)
    alike = [[cosine(a, b) for b in c] for a in c]
    pairs = [alike[i][j] for i in range(n) for j in range(n) if i != j]
    theta = rule.theta * (sum(pairs) / len(pairs) if pairs else 0.0) if rule.relative else rule.theta
    group = [0] * n
    if quotas is not None:
        cells, groups = grid[0] * grid[1], min(quotas.groups, grid[0] * grid[1])
        cell = windows(grid, groups)[0] if quotas.kind == "windows" else [i * groups // cells for i in range(cells)]
        group = [cell[o] for o in origin]
    free = []
    for i in ranking(s):
        if all(group[i] != group[j] or alike[i][j] <= theta for j in free):
            free.append(i)
    line = free + [i for i in ranking(s) if i not in free]
    if quotas is None:
        return sorted(line[:count])
    value = np.zeros(n)
    for place, i in enumerate(line):
        value[i] = n - place
    if quotas.share != "survivors":
        return quota(quotas, value, raw, origin, count, grid)
    members = [[i for i in line if group[i] == g] for g in range(groups)]
    many = [len([i for i in one if i in free]) for one in members]
    most = [min(len(one), alive, quotas.cap or n) for one, alive in zip(members, many, strict=True)]
    while sum(most) < count:
        most = [min(bound + 1, len(one)) for bound, one in zip(most, members, strict=True)]
    numbers = [min(1, len(one)) for one in members]
    rest, so_far = max(0, count - sum(numbers)), 0
    for g, upto in enumerate(np.cumsum(many)):
        share = round(Fraction(int(upto) * rest, max(sum(many), 1)))
        numbers[g] = min(numbers[g] + share - so_far, most[g])
        so_far = share
    for g in range(groups):  # where there are more groups than tokens that stay, the first ones have theirs
        numbers[g] = max(0, min(numbers[g], count - sum(numbers[:g])))
    for g in ranking(many):
        numbers[g] += min(most[g] - numbers[g], count - sum(numbers))
    return sorted(i for one, number in zip(members, numbers, strict=True) for i in one[:number])
