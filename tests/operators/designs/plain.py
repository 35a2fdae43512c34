"""What the plain methods share: the tokens of one picture as lists, similarities with loops, float64."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Picture:
    """The visual tokens left, in raster order."""

    x: list  # vectors
    size: list  # how many original tokens each stands for
    place: list  # where each stood in the grid

    @classmethod
    def of(cls, x):
        return cls([np.asarray(v, dtype=np.float64) for v in x], [1.0] * len(x), list(range(len(x))))

    def only(self, stay):
        stay = sorted(stay)
        return Picture([self.x[i] for i in stay], [self.size[i] for i in stay], [self.place[i] for i in stay])

    def __len__(self):
        return len(self.x)


def cosine(a, b):
    length = np.linalg.norm(a) * np.linalg.norm(b)
    return same(float(np.dot(a, b) / length)) if length else 0.0


def same(value):
    """Values that differ by rounding only are equal, so that ties are ties."""
    return round(value, 9)


def ranked(values):
    """Indices from the largest value to the smallest; the lower index first among equals."""
    return sorted(range(len(values)), key=lambda i: (-values[i], i))


def closest(likeness):
    """The key of the largest value, the lower key among equals."""
    return min(likeness, key=lambda key: (-likeness[key], key))
