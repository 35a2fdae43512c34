"""The places of a generalist: models and tasks that one set of an operator's parameters can serve."""

from __future__ import annotations

from collections.abc import Sequence

from eos_platform.common.errors import EosError, shown
from eos_platform.search.config import SearchConfig
from eos_platform.search.starts.structure import OWN
from eos_platform.tasks.base import Subject
from eos_platform.tasks.together import group


def name_of(place: Subject) -> str:
    """As tables have it."""
    return f"{place.name} on {place.task}"


def check_places(places: Sequence[Subject], config: SearchConfig) -> SearchConfig:
    """The settings of a search over these places: those of several models learn no directions.

    Raises:
        EosError: fewer than two, two alike, models of different shapes, or settings that are of one place.
    """
    names = [name_of(place) for place in places]
    if len(places) < 2:
        raise EosError("generalist: two places at least are needed")
    for number, name in enumerate(names):
        if name in names[:number]:
            raise EosError(f"generalist: {shown(name)} is there twice")
    first = places[0]
    for place in places[1:]:
        for what, mine, other in (
            ("decoder layers", first.target.layers, place.target.layers),
            ("visual tokens (rows, columns)", first.target.grid, place.target.grid),
            ("width", first.shape.hidden, place.shape.hidden),
        ):
            if mine != other:
                raise EosError(
                    f"generalist: {names[0]} has {what} {mine}, {name_of(place)} {other}; one operator's parameters fit"
                    " models of one shape alone (eos transfer rescales)"
                )
    if config.budget_rule != "exact":
        raise EosError(f"generalist: budget_rule is exact here, not {config.budget_rule}")
    if config.start not in OWN:
        raise EosError(f"generalist: start is one of {', '.join(OWN)} here, not {shown(config.start)}")
    if group().size > 1:
        raise EosError("generalist: one process alone searches over several places")
    if one_model(places):
        return config
    given = [name for name in ("probe", "steering_rank") if name in config.model_fields_set and getattr(config, name)]
    if given and not config.portable:
        raise EosError(
            f"generalist: {' and '.join(given)}: a direction of one model's hidden space means nothing in another's;"
            " over several models a search learns none"
        )
    return config.model_copy(update={"probe": False, "steering_rank": 0})


def one_model(places: Sequence[Subject]) -> bool:
    """Whether all places are tasks of the same weights."""
    return len({id(place.model) for place in places}) == 1


def features_of(places: Sequence[Subject]) -> tuple[str, ...]:
    """What tokens can be weighed by in all of them."""
    return tuple(name for name in places[0].features if all(name in place.features for place in places[1:]))
