"""``fabrics``: a fine pattern that fills the picture, with a small flaw or without; is there one, where, which pattern.

The whole picture is texture, so nothing stands out but the flaw, and pictures of fewer pixels lose it first.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import numpy as np
from PIL import Image

from eos_platform.tasks.drawn.base import Drawn

PATTERNS = ("lines", "checks", "waves", "dots")
CORNERS = ("top left", "top right", "bottom left", "bottom right")
FLAWS = ("gap", "stain", "shift")
YARNS = ((198, 40, 40), (46, 125, 50), (21, 101, 192), (97, 97, 97))


class Scene(NamedTuple):
    """A fabric: lengths are shares of the side."""

    pattern: str
    yarn: tuple[int, int, int]
    repeats: float  # of the pattern over the picture
    turn: float  # of its threads
    flaw: str  # "": none
    corner: int
    at: tuple[float, float]  # middle of the flaw within its corner's quarter
    reach: float


class Fabrics(Drawn):
    """One fabric a picture."""

    name = "fabrics"
    groups: tuple[str, ...] = ("flawed", "where", "pattern")

    def scene(self, rng: random.Random) -> Scene:
        """Half of them have a flaw."""
        return Scene(
            pattern=rng.choice(PATTERNS),
            yarn=rng.choice(YARNS),
            repeats=rng.uniform(12, 20),
            turn=rng.uniform(0, math.pi),
            flaw=rng.choice(FLAWS) if rng.random() < 0.5 else "",
            corner=rng.randrange(4),
            at=(rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7)),
            reach=rng.uniform(0.05, 0.08),
        )

    def drawn(self, scene: Scene, rng: random.Random) -> Image.Image:
        """Threads over a ground, a little uneven; the flaw is a disc where they are missing, dark, or out of step."""
        noise = np.random.default_rng(rng.getrandbits(32))
        y, x = np.mgrid[0 : self.side, 0 : self.side] / self.side
        middle_x, middle_y = (scene.corner % 2 + scene.at[0]) / 2, (scene.corner // 2 + scene.at[1]) / 2
        inside = (
            (x - middle_x) ** 2 + (y - middle_y) ** 2 < scene.reach**2 if scene.flaw else np.zeros_like(x, dtype=bool)
        )
        share = self._threads(scene, x, y, inside * 0.5 if scene.flaw == "shift" else 0.0)
        share = np.where(inside & (scene.flaw == "gap"), 0.0, share)
        ground, yarn = np.array([245.0, 240.0, 228.0]), np.array(scene.yarn, dtype=float)
        pixels = ground + (yarn - ground) * share[..., None]
        pixels = np.where((inside & (scene.flaw == "stain"))[..., None], pixels * 0.45, pixels)
        pixels += noise.normal(0, 6, pixels.shape)
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    @staticmethod
    def _threads(scene: Scene, x: np.ndarray, y: np.ndarray, shift: np.ndarray | float) -> np.ndarray:
        """How much of the yarn shows at each pixel, from 0 to 1; ``shift`` in repeats."""
        along = x * math.cos(scene.turn) + y * math.sin(scene.turn)
        across = y * math.cos(scene.turn) - x * math.sin(scene.turn)
        u, v = along * scene.repeats + shift, across * scene.repeats  # shifted in both, checks would be as before
        if scene.pattern == "waves":
            return (np.sin(2 * np.pi * (u + 0.3 * np.sin(2 * np.pi * v / 2))) > 0).astype(float)
        first, second = np.sin(2 * np.pi * u) > 0, np.sin(2 * np.pi * v) > 0
        if scene.pattern == "lines":
            return first.astype(float)
        if scene.pattern == "checks":
            return (first ^ second).astype(float)
        return (((u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2) < 0.1).astype(float)

    def questions(self, scene: Scene, key: str) -> list[tuple[str, str, str]]:
        """Whether there is a flaw, where, and which pattern it is."""
        where = CORNERS[scene.corner] if scene.flaw else "nowhere"
        return [
            ("flawed", "is there a flaw?", "yes" if scene.flaw else "no"),
            ("where", "in which corner is the flaw?", where),
            ("pattern", "which pattern is it?", scene.pattern),
        ]
