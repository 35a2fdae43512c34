"""An operator as the figures want it: its layers and sites as frames, and in words."""

from __future__ import annotations

import pandas as pd

from eos_platform.operators.spec import OperatorSpec, SiteSpec


def layers_of(spec: OperatorSpec) -> pd.DataFrame:
    """``place``, ``layer``, ``tokens`` (that enter it); the tower's layers only where sites are in it."""
    lines = []
    tokens = spec.arriving
    if spec.tower_sites:
        deepest = max(site.layer for site in spec.tower_sites)
        for layer in range(max(spec.target.vision_layers, deepest + 1)):
            tokens = next((site.keep for site in reversed(spec.tower_sites) if site.layer == layer), tokens)
            lines.append({"place": "tower", "layer": layer, "tokens": tokens})
    lines += [{"place": "decoder", "layer": layer, "tokens": count} for layer, count in enumerate(spec.counts)]
    return pd.DataFrame(lines)


def sites_of(spec: OperatorSpec) -> pd.DataFrame:
    """One row a site: ``place``, ``layer``, ``before``, ``after``, ``regime``, ``selector``, ``what`` (in words)."""
    lines = [
        {
            "place": site.place,
            "layer": site.layer,
            "before": before,
            "after": site.keep,
            "regime": regime,
            "selector": site.selector,
            "what": _words(site),
            "transfer": f"gamma {site.transfer.gamma:.2g}, tau {site.transfer.tau:.2g}, nu {site.transfer.nu:.2g}",
            "compensation": f"beta {site.beta:.2g}, positions {site.positions}",
        }
        for site, before, regime in zip(spec.sites, spec.incoming, spec.regimes, strict=True)
    ]
    columns = ["place", "layer", "before", "after", "regime", "selector", "what", "transfer", "compensation"]
    return pd.DataFrame(lines, columns=columns)


def _words(site: SiteSpec) -> str:
    weights = sorted(((name, weight) for name, weight in site.score.items() if weight), key=lambda pair: -abs(pair[1]))
    words = [f"{name} {weight:+.2g}" for name, weight in weights[:4]]
    if site.steering:
        words.append("a learned direction that depends on the question")
    elif any(site.probe):
        words.append("a learned direction")
    return ", ".join(words)
