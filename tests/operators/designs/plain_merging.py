"""Methods that merge, as their papers and code describe them, for one picture, with loops (see each design for where
it departs from them: order, the places of merged tokens, means weighted by sizes)."""

import math

import numpy as np
from plain import Picture, closest, cosine, ranked


def merged(picture: Picture, stay, goes_to):
    """The tokens of ``stay``, each the mean of itself and all that go to it, weighted by sizes."""
    x, size = {j: picture.x[j] * picture.size[j] for j in stay}, {j: picture.size[j] for j in stay}
    for i, j in goes_to.items():
        x[j] = x[j] + picture.x[i] * picture.size[i]
        size[j] += picture.size[i]
    stay = sorted(stay)
    return Picture([x[j] / size[j] for j in stay], [size[j] for j in stay], [picture.place[j] for j in stay])


def tome(picture: Picture, compared, keep):
    """Even tokens find their most similar odd one; the most similar pairs become one token (of ties, the last)."""
    n = len(picture)
    partner, likeness = {}, []
    for i in range(0, n, 2):
        likes = {j: cosine(compared[i], compared[j]) for j in range(1, n, 2)}
        partner[i] = closest(likes) if likes else None
        likeness.append(likes[partner[i]] if likes else -2.0)
    unlike = ranked([-value for value in likeness])
    goes = [2 * k for k in unlike[len(unlike) - (n - keep) :]]
    return merged(picture, [i for i in range(n) if i not in goes], {i: partner[i] for i in goes})


def diffrate(picture: Picture, attention, keep, merging):
    """Sorted by attention: the last are pruned, those before them merged into the most similar of the first."""
    order = ranked(attention)
    first, middle = order[:keep], order[keep : keep + merging]
    goes = {i: closest({j: cosine(picture.x[i], picture.x[j]) for j in first}) for i in middle}
    return merged(picture, first, goes)


def visionzip(picture: Picture, attention, keys, dominant, contextual):
    """The most attended; and of the rest every so-many-th token, plus the mean of those most like it."""
    stay = ranked(attention)[:dominant]
    rest = [i for i in range(len(picture)) if i not in stay]
    step = max(1, len(rest) // contextual)
    targets = [rest[k * step] for k in range(contextual)]
    assigned = {j: [] for j in targets}
    for i in rest:
        if i not in assigned:
            assigned[closest({j: cosine(keys[i], keys[j]) for j in targets})].append(i)
    out = picture.only(stay + targets)
    for k, place in enumerate(out.place):
        if assigned.get(place):
            out.x[k] = picture.x[place] + np.mean([picture.x[i] for i in assigned[place]], axis=0)
            out.size[k] = 1.0 + len(assigned[place])
    return out


def prumerge(picture: Picture, attention, keys, keep, neighbours, strided=0):
    """The most attended (and strided ones), each plus its neighbours by attention; one more token for all that go."""
    n, summary = len(picture), int(keep > 1)
    stay = ranked(attention)[: keep - summary - strided]
    rest = [i for i in range(n) if i not in stay]
    step = max(1, len(rest) // strided) if strided else 0
    stay = sorted(stay + [rest[k * step] for k in range(strided)])
    out = picture.only(stay)
    for k, i in enumerate(stay):
        likes = {j: cosine(keys[i], keys[j]) for j in range(n) if j != i}
        for j in sorted(likes, key=lambda j: (-likes[j], j))[:neighbours]:
            out.x[k] = out.x[k] + attention[j] * picture.x[j]
            out.size[k] += attention[j]
    if summary:
        gone = [i for i in range(n) if i not in stay]
        out.x.append(sum(attention[i] * picture.x[i] for i in gone))
        out.size.append(float(len(gone)))
        out.place.append(gone[-1])
    order = sorted(range(len(out)), key=lambda k: out.place[k])
    return Picture([out.x[k] for k in order], [out.size[k] for k in order], [out.place[k] for k in order])


def sparsevlm(picture: Picture, rating, kept, clusters=None):
    """The best rated stay; the best 30 % of the rest are clustered by density, a token for every ten."""
    n, order = len(picture), ranked(rating)
    rest = sorted(order[kept:])
    share = min(int(0.3 * len(rest)) + 1, len(rest))
    clusters = share // 10 + 1 if clusters is None else clusters
    by_rating = [i for i in order if i in rest]
    pool = sorted(by_rating[: max(share, clusters)])
    centres = density_peaks([picture.x[i] for i in pool], clusters)
    centres = [pool[k] for k in centres]
    goes = {}
    for i in pool:
        if i not in centres:
            goes[i] = closest({c: -distance(picture.x[i], picture.x[c]) for c in centres})
    return merged(picture, [i for i in range(n) if i in order[:kept] or i in centres], goes)


def distance(a, b):
    return round(math.sqrt(sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True)) / len(a)), 9)


def density_peaks(x, clusters):
    """Indices of the points that are dense and far from any denser one (DPC-kNN, as many neighbours as clusters)."""
    n = len(x)
    apart = [[distance(a, b) for b in x] for a in x]
    near = [sorted(row)[: min(clusters, n)] for row in apart]
    density = [round(math.exp(-sum(d * d for d in row) / len(row)), 9) for row in near]
    peak = []
    for i in range(n):
        denser = [apart[i][j] for j in range(n) if density[j] > density[i] or (density[j] == density[i] and j < i)]
        peak.append(round(density[i] * (min(denser) if denser else max(map(max, apart))), 9))
    return ranked(peak)[:clusters]
