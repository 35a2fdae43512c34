"""What is shown is in the address, so that Back, bookmarks and mailed links work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode

VIEWS = {"front": "Front", "operator": "Operator", "compare": "Compare", "health": "Health", "table": "Table"}
LISTS = ("regimes", "designs", "y", "x", "z", "also", "columns")
MOST = 6  # operators beside each other


def kept_of(search: str) -> dict[str, list[str]]:
    """The lists among the settings that ``assets/state.js`` keeps in the address."""
    query = parse_qs(search.removeprefix("?"), keep_blank_values=True)
    return {name: [one for one in query[name][0].split(",") if one] for name in LISTS if name in query}


def link(where: Mapping[str, Any], **changes: Any) -> str:
    """The address of a place."""
    place = {**where, **changes}
    query = {name: place[name] for name in ("study", "view", "run") if place.get(name)}
    if query.get("view") == "table" and place.get("sort"):
        query["sort"] = place["sort"]
    if place.get("with"):
        query["with"] = ",".join(place["with"][:MOST])
    return "/?" + urlencode(query)
