"""What each parameter of an operator contributes: the same operator with one thing changed, again and again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from eos_platform.analysis.explain.describe import sizes_differ
from eos_platform.operators.spec import OperatorSpec, SiteSpec

EACH = 4  # of an operator with more sites, a parameter is changed at all of them at once


@dataclass(frozen=True)
class Ablation:
    """An operator with one thing changed."""

    what: str  # such as "gamma 0 (pruning)"
    where: str  # "site 1", "all sites", or empty where there is one site only
    operator: OperatorSpec
    was: str = ""  # what it was before

    @property
    def name(self) -> str:
        """What and where."""
        return f"{self.what}, {self.where}" if self.where else self.what


Change = tuple[str, str, dict[str, Any], dict[str, Any]]  # what, was, fields of the site, fields of its transfer


def ablations(operator: OperatorSpec) -> list[Ablation]:
    """Every one that changes something and is still an operator, in the order of the operator's parameters.

    Of an operator with more than ``EACH`` sites, a parameter is changed at all of them at once; each site is removed by
    itself in any case.
    """
    kept: list[Ablation] = []
    count = len(operator.sites)
    if count > EACH:
        changed: dict[str, dict[int, SiteSpec]] = {}
        for number in range(count):
            for what, _, site in _changed(operator, number):
                changed.setdefault(what, {})[number] = site
        for what, others in changed.items():
            where = "all sites" if len(others) == count else f"{len(others)} of {count} sites"
            kept += _valid(operator, what, where, [others.get(n, site) for n, site in enumerate(operator.sites)])
    else:
        for number in range(count):
            for what, was, site in _changed(operator, number):
                where = f"site {number + 1}" if count > 1 else ""
                sites = [*operator.sites[:number], site, *operator.sites[number + 1 :]]
                kept += _valid(operator, what, where, sites, was)
    for number in range(count):
        where = f"site {number + 1}" if count > 1 else ""
        kept += _valid(operator, "site removed", where, [*operator.sites[:number], *operator.sites[number + 1 :]])
    if operator.image is not None:
        kept += _valid(operator, "picture not shrunk", "", list(operator.sites), image=None)
    return kept


def _changed(operator: OperatorSpec, number: int) -> Iterator[tuple[str, str, SiteSpec]]:
    """What, what it was, and the site with it changed; those that are no valid site are left out."""
    site = operator.sites[number]
    for what, was, fields, transfer in _changes(operator, number):
        data = site.model_dump()
        data |= fields
        data["transfer"] |= transfer
        try:
            other = SiteSpec.model_validate(data)
        except ValidationError:  # such as a score of nothing
            continue
        if other != site:
            yield what, was, other


def _changes(operator: OperatorSpec, number: int) -> Iterator[Change]:
    site = operator.sites[number]
    reduces = 0 < site.keep < operator.incoming[number]
    if (reduces or site.rho > 0) and site.ranks:
        yield from _ranked(site)
    if reduces:
        yield from _picked(site)
        yield from _given(site)
    if site.rho > 0:
        yield "rho 0", f"{site.rho:.3g}", {"rho": 0.0}, {}
    if sizes_differ(operator, number) and site.keep:
        for beta in (0.0, 1.0):
            yield f"beta {beta:g}", f"{site.beta:.3g}", {"beta": beta}, {}
    if reduces and site.place == "decoder":
        if site.positions == "keep":
            yield "positions renumber", "keep", {"positions": "renumber"}, {}
        else:
            yield "positions keep", "renumber", {"positions": "keep"}, {}


def _ranked(site: SiteSpec) -> Iterator[Change]:
    if site.mixing == "product":
        yield "mixing sum", "product", {"mixing": "sum"}, {}
    if any(site.probe):
        yield "probe off", "on", {"probe": (), "steering": None}, {}
    if site.steering:
        yield "steering off", f"rank {site.steering.rank}", {"steering": None}, {}
    weights = {name: weight for name, weight in site.score.items() if weight}
    for name, weight in weights.items():
        rest = {other: value for other, value in weights.items() if other != name}
        yield f"{name} off", f"{weight:.3g}", {"score": rest}, {}
    if len(weights) > 1:
        yield "all features off", "on", {"score": {}}, {}


def _picked(site: SiteSpec) -> Iterator[Change]:
    if site.selector == "diverse_topk" and site.spread > 0:
        yield "spread 0 (score only)", f"{site.spread:.3g}", {"spread": 0.0}, {}
    if site.selector != "farthest":
        plain = {"weighing": "sum", "coverage": None, "quota": None, "suppress": None}
        yield "selector farthest", site.selector, {"selector": "farthest", **plain}, {}
    if site.weighing != "sum":
        yield "weighing sum", site.weighing, {"weighing": "sum"}, {}
    if site.suppress is not None:
        off = {"selector": "score", "suppress": None, **({"quota": None} if site.quota else {})}
        yield "suppress off", f"{site.suppress.theta:.3g}", off, {}
    if site.prior is not None:
        yield "prior off", site.prior.feature, {"prior": None}, {}
    if site.exclude_padding:
        yield "padding like the rest", "passed over", {"exclude_padding": False}, {}
    if site.quota is not None and not site.quota.of_suppression:
        yield "quota off", f"{site.quota.groups or ''} {site.quota.kind}".strip(), {"quota": None}, {}
    if site.important and site.selector != "score":
        yield "important 0", str(site.important), {"important": 0}, {}
    if site.similarity != "hidden":
        yield "similarity hidden", site.similarity, {"similarity": "hidden"}, {}


def _given(site: SiteSpec) -> Iterator[Change]:
    transfer = site.transfer
    if transfer.gamma > 0:
        yield "gamma 0 (pruning)", f"{transfer.gamma:.3g}", {}, {"gamma": 0.0}
        for tau, what in ((0.0, "tau 0 (merging)"), (math.inf, "tau inf (pooling)")):
            yield what, f"{transfer.tau:.3g}", {}, {"tau": tau}
        for nu, what in ((0.0, "nu 0 (summed)"), (1.0, "nu 1 (averaged)")):
            yield what, f"{transfer.nu:.3g}", {}, {"nu": nu}
        if transfer.source != "ones":
            yield "source ones", transfer.source, {}, {"source": "ones"}
        if transfer.support.kind != "all" and transfer.by == "source":
            yield "support all", transfer.support.kind, {}, {"support": {"kind": "all"}}
    else:
        yield "gamma 1, tau 0 (merging)", "0", {}, {"gamma": 1.0, "tau": 0.0, "nu": 1.0}
    if site.summary:
        yield "summary off", "on", {"summary": False}, {}


def _valid(
    operator: OperatorSpec, what: str, where: str, sites: list[SiteSpec], was: str = "", **others: Any
) -> list[Ablation]:
    data = operator.model_dump() | {"sites": [site.model_dump() for site in sites]} | others
    try:
        changed = OperatorSpec.model_validate(data)
    except ValidationError:  # such as windows that now get other counts than they need
        return []
    return [Ablation(what, where, changed, was)]
