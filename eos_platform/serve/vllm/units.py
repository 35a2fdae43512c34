"""Units of pictures in prompts of vLLM: which tokens are placeholders of which unit, and how many are left of them.

A unit is what an operator reduces by itself: a picture, or a tile of one. Units of a picture follow one another, or
have words between them that say which tile is which.
"""

from __future__ import annotations

from collections.abc import Sequence

from eos_platform.common.errors import EosError


def shrunk(ids: Sequence[int], token: int, whole: int, kept: int) -> list[int]:
    """Token ids with as many placeholders as an operator leaves.

    Args:
        ids: what stands for a picture in a prompt: placeholders of its units, and words between them.
        token: the placeholder.
        whole: placeholders of a unit.
        kept: how many of them are left.

    Raises:
        EosError: there are placeholders of no whole unit.
    """
    made: list[int] = []
    run = 0
    for one in (*ids, None):
        if one == token:
            run += 1
            continue
        if run % whole:
            raise EosError(f"{run} placeholders of a picture; its units have {whole}")
        made += [token] * (run // whole * kept)
        run = 0
        if one is not None:
            made.append(one)
    return made


def image_token(config: object) -> int:
    """The placeholder's id, by whichever name a configuration has it."""
    for name in ("image_token_id", "image_token_index"):
        if (found := getattr(config, name, None)) is not None:
            return int(found)
    raise EosError("the model's configuration names no placeholder of pictures")
