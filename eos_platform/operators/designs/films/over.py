"""Designs for pictures at work on whole films: the same rules over all frames at once, the count one for the film."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from eos_platform.common.errors import EosError
from eos_platform.operators.designs.base import Design, Draft
from eos_platform.operators.designs.schedule import check_film
from eos_platform.operators.spec import SiteSpec, Target


def over_film(design: Design) -> Design:
    """The design with every site's scope a film, called ``NAME, whole film``. What acts in the vision tower, or on rows
    of single pictures, is refused when it is built."""

    def make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...] | Draft:
        check_film(target)
        made = design.make(target, tokens, knobs)
        draft = made if isinstance(made, Draft) else Draft(made)
        try:
            sites = tuple(SiteSpec.model_validate({**site.model_dump(), "scope": "film"}) for site in draft.sites)
        except ValidationError as error:
            raise EosError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from None
        return Draft(sites, draft.image)

    return replace(design, name=f"{design.name}, whole film", make=make, films=True, published={})
