"""What a hand-designed operator declares: where it comes from, and which operator it is at each token count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from eos_platform.errors import EosError
from eos_platform.operators.spec import OperatorSpec, Regime, SiteSpec, Target


def before_language_model(target: Target) -> tuple[int, ...]:
    """The placement of designs that reduce between projector and language model."""
    return (0,)


@dataclass(frozen=True)
class Design:
    """A published method expressed as an operator."""

    name: str
    regime: Regime
    source: str  # authors, arXiv id
    summary: str
    make_sites: Callable[[Target, int, int], tuple[SiteSpec, ...]]  # target, keep (< tokens), layer
    layers: Callable[[Target], tuple[int, ...]] = before_language_model  # where it may act, its own choice first

    def build(self, target: Target, keep: int, layer: int | None = None) -> OperatorSpec:
        """This design leaving ``keep`` tokens; all of them is the operator that does nothing.

        Args:
            layer: where it acts; default: where its authors put it.

        Raises:
            EosError: no such token count, or no such layer.
        """
        if not 1 <= keep <= target.tokens:
            raise EosError(f"design '{self.name}' keeps 1 to {target.tokens} tokens, not {keep}")
        layer = self.layers(target)[0] if layer is None else layer
        if not 0 <= layer < target.layers:
            raise EosError(f"design '{self.name}': layer {layer} is not one of the {target.layers} decoder layers")
        sites = self.make_sites(target, keep, layer) if keep < target.tokens else ()
        return OperatorSpec(name=f"{self.name}-{keep}", target=target, sites=sites, provenance={"design": self.name})

    def candidates(self, target: Target) -> tuple[Callable[[int], OperatorSpec], ...]:
        """Builds as functions of ``keep`` (1 to all tokens, compute growing with it), the preferred placement first.

        To meet a budget: the largest ``keep`` of the first function whose smallest build is within it.
        """
        return tuple(partial(self.build, target, layer=layer) for layer in self.layers(target))
