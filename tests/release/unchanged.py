"""That what was searched and deployed at the release of operator schema 1 is so today.

Bit for bit where one machine ran both, and closely on another. What was meant to change since: how long a key is, which
``key_norm`` and the selector ``pivots`` go by, depended on padding in front of the prompt, and on the number of the
first position (PaliGemma's is 1). Operators that read it are tried on prompts without padding, of the other families.

    python tests/release/unchanged.py                    # today's code against the record beside this file
    python tests/release/unchanged.py --write NEW.json   # a record of the code that is installed; also of the release's
    python tests/release/unchanged.py --record OLD.json  # against another record, of the same machine say

It runs under the release's code too, whose modules have other places, and speaks of operators and searches in the words
of that release; so it also shows that these are still read. It takes two minutes of a core.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import math
import platform
import random
import sys
from pathlib import Path
from typing import Any

import torch

RECORD = Path(__file__).parent / "unchanged.json"
CLOSE = 1e-4  # relative, of numbers that another processor rounds otherwise
EACH = 37  # operators of each of the 11 families
STEPS = 40
SEARCHES: dict[str, dict[str, Any]] = {
    "default": {"budget": 0.3},
    "warm-up": {"budget": 0.2, "selector": "score", "steer": 0, "seed": 1},
    "penalty": {"budget": 0.3, "budget_rule": "penalty", "layers": [1, 3], "cost_weight": 0.1, "seed": 2},
    "two-sided": {"budget": 0.4, "budget_rule": "two-sided", "probe": False, "support": "window", "seed": 3},
    "evaluated": {"budget": 0.2, "ease": 1, "sizes": False, "support": "nearest", "positions": "renumber", "seed": 4,
                  "eval_every": 20},
}  # fmt: skip


def module(*places: str) -> Any:
    """The module that is there under one of its names, today's first."""
    for place in places[:-1]:
        try:
            return importlib.import_module(f"eos_platform.{place}")
        except ModuleNotFoundError:
            continue
    return importlib.import_module(f"eos_platform.{places[-1]}")


def digest(*tensors: torch.Tensor) -> str:
    """Of every bit."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
        found.update(tensor.detach().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def searches() -> dict[str, Any]:
    """Of each search: digests of its parameters and of its operator's sites, and numbers to compare elsewhere."""
    workload = importlib.import_module("eos_platform.tasks.workload").load_workload("bundled-small", device="cpu")
    settings = importlib.import_module("eos_platform.search.config").SearchConfig
    search = importlib.import_module("eos_platform.search.run").search
    rows = {}
    for name, values in SEARCHES.items():
        few = {"steps": STEPS, "batch_size": 16, "search_questions": 256, "eval_questions": 128}
        result = search(workload, settings.of({**few, **values}))
        tensors = [result.parameters[key] for key in sorted(result.parameters, key=released)]
        rows[name] = {
            "parameters": {released(key): digest(result.parameters[key]) for key in sorted(result.parameters)},
            "sites": hashlib.sha256(repr([site(one) for one in result.operator.sites]).encode()).hexdigest()[:16],
            "numbers": [result.accuracy, result.relaxed_accuracy, result.compute_ratio, result.mean_tokens],
            "norms": [float(one.double().norm()) for one in tensors],
        }
        rows[name]["parameters"] = dict(sorted(rows[name]["parameters"].items()))
    return rows


def released(name: str) -> str:
    """The name that the release had for a tensor."""
    return {"question_proj": "read", "direction_delta": "turn"}.get(name, name)


def site(one: Any) -> list[Any]:
    """What the release says of a site, in its order and without names that changed."""
    transfer = one.transfer
    where = [one.place, one.layer, one.keep, one.positions, one.rho, one.beta]
    chosen = [sorted(one.score.items()), one.probe, one.spread]
    return [*where, *chosen, transfer.gamma, transfer.tau, transfer.nu, transfer.support.kind, transfer.support.size]


FEATURES = ("last_text", "mean_text", "norm", "uniqueness", "relevance", "key_norm", "raters", "vision", "corrected")
SELECTORS = ("score", "score", "cover", "grid", "alternate", "farthest", "random", "spaced", "bipartite", "density",
             "pivots", "dpp")  # fmt: skip


def drawn(draw: random.Random, tokens: int, layers: int, axes: int, width: int) -> list[dict[str, Any]]:
    """Sites of one random operator, as the release writes them."""
    sites, left = [], tokens
    for layer in sorted(draw.choices(range(layers), k=draw.choice((1, 1, 2, 2, 3)))):
        selector = draw.choice(SELECTORS)
        least = (left + 1) // 2 if selector == "alternate" else 1
        keep = draw.randint(least, max(least, left - 1))
        one: dict[str, Any] = {"layer": layer, "keep": keep, "selector": selector, "seed": draw.randrange(99)}
        one["score"] = {name: round(draw.uniform(-0.5, 1), 3) for name in draw.sample(FEATURES, draw.randint(1, 3))}
        if selector == "cover":
            one["spread"] = round(draw.uniform(0, 2), 3)
        if selector != "pivots" and draw.random() < 0.2:
            one["similarity"] = "keys"
        if draw.random() < 0.2:
            one["probe"] = [round(draw.gauss(0, 0.3), 4) for _ in range(width)]
        if draw.random() < 0.3:
            one["important"] = draw.randint(0, keep // 2)
        if draw.random() < 0.7:
            one["transfer"] = transfer(draw, left)
        one["rho"], one["beta"] = draw.choice((0, 0, 0.4)), draw.choice((0, 0.5, 1))
        if axes == 1 and draw.random() < 0.2:
            one["positions"] = "renumber"
        sites.append(one)
        left = keep
    return sites


def transfer(draw: random.Random, tokens: int) -> dict[str, Any]:
    """Where what is dropped goes."""
    made: dict[str, Any] = {"gamma": draw.choice((0.5, 0.9, 1)), "tau": draw.choice((0, 0.05, 0.5, "inf"))}
    made |= {"nu": draw.choice((0, 0.5, 1)), "mu": draw.choice((0, 0, 0.5, 1))}
    made |= {"source": draw.choice(("ones", "ones", "importance", "attention")), "among": draw.choice((1, 1, 0.5))}
    made |= {"to": draw.choice(("all", "all", "destinations")), "metric": draw.choice(("cosine", "distance"))}
    if draw.random() < 0.3:
        made["support"] = {"kind": "nearest", "size": draw.randint(1, max(1, tokens // 2))}
        if draw.random() < 0.3:
            made |= {"by": "anchor", "tau": "inf"}
    return made


def deployed(known: dict[str, Any] | None = None) -> dict[str, Any]:
    """Of each family: digests of the untouched model's logits, and of those with each operator; and their means.

    Args:
        known: an earlier record, whose operators are taken; default: the first that this code runs.
    """
    zoo = importlib.import_module("eos_platform.models.conformance.zoo")
    subjects = importlib.import_module("eos_platform.models.conformance.subjects")
    attached = module("models.runtime.attach", "models.attach").attached
    target_of = module("models.adapters.target", "models.llava").target_of
    family_of = module("models.adapters", "models.families").family_of
    spec = importlib.import_module("eos_platform.operators.spec").OperatorSpec
    refusal = module("common.errors", "errors").EosError
    rows: dict[str, Any] = {}
    for name in known or zoo.SAMPLES:  # families that came later are no part of it
        sample = zoo.SAMPLES[name]
        model, prompts = subjects.built(sample), list(subjects.batches(sample).items())
        target, axes = target_of(model), family_of(model).axes
        width = model.get_input_embeddings().embedding_dim
        untouched = run(model, prompts[0][1], True)
        row: dict[str, Any] = {"untouched": digest(*untouched), "operators": {}}
        seeds = map(int, known[name]["operators"]) if known else range(20 * EACH)
        for seed in seeds:
            sites = drawn(random.Random(f"{name} {seed}"), target.tokens, target.layers, axes, width)
            if by_length(sites) and sample.first:
                continue
            data = {"schema_version": 1, "target": target.model_dump(mode="json"), "sites": sites}
            try:
                operator = spec.from_json(json.dumps(data))
                with attached(model, operator):
                    logits = run(model, prompts[0 if by_length(sites) else seed % len(prompts)][1], seed % 4 == 0)
            except refusal as error:
                if known:
                    row["operators"][str(seed)] = [f"refused: {error}", 0.0]
                continue
            mean = sum(float(one.double().abs().mean()) for one in logits)
            row["operators"][str(seed)] = [digest(*logits), float(f"{mean:.8g}")]
            if len(row["operators"]) == EACH and not known:
                break
        rows[name] = row
    return rows


def by_length(sites: list[dict[str, Any]]) -> bool:
    """Whether how long keys are decides anything."""
    return any("key_norm" in one["score"] or one["selector"] == "pivots" for one in sites)


@torch.no_grad()
def run(model: Any, inputs: dict[str, Any], decoding: bool) -> list[torch.Tensor]:
    """Logits of a prompt (b, n, v), and of three tokens generated from its cache (b, t, v)."""
    logits = model(**inputs).logits
    if not decoding:
        return [logits]
    made = model.generate(**inputs, max_new_tokens=3, do_sample=False, return_dict_in_generate=True, output_logits=True)
    return [logits, torch.stack(made.logits, 1)]


def close(one: float, other: float) -> bool:
    """Whether two numbers are the same up to what processors round otherwise."""
    return math.isclose(one, other, rel_tol=CLOSE, abs_tol=1e-7)


def differences(found: dict[str, Any], known: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What differs in its bits, and what of that is not even close."""
    bits, far = [], []
    for name, old in known["searches"].items():
        new = found["searches"][name]
        if any(new[key] != old[key] for key in ("parameters", "sites", "numbers")):
            bits.append(f"search {name}")
            pairs = [*zip(new["norms"], old["norms"], strict=True), *zip(new["numbers"], old["numbers"], strict=True)]
            if not all(close(*pair) for pair in pairs):
                far.append(f"search {name}: {new['numbers']}, and not {old['numbers']}")
    for family, row in known["deployed"].items():
        now = found["deployed"][family]
        if now["untouched"] != row["untouched"]:
            bits.append(f"{family} without an operator")
        for seed, (old, mean) in row["operators"].items():
            new, now_mean = now["operators"][seed]
            if new != old:
                bits.append(f"{family}, operator {seed}")
                if not close(now_mean, mean):
                    far.append(f"{family}, operator {seed}: {new}, {now_mean}, and not {mean}")
    return bits, far


def main() -> int:
    """Write a record, or compare with one: 1 where something is not even close."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="where to write what is found, instead of comparing it")
    parser.add_argument("--record", type=Path, default=RECORD, help="what to compare with")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    known = None if asked.write else json.loads(asked.record.read_text("utf-8"))
    made = {"torch": torch.__version__, "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"}
    found = made | {"searches": searches(), "deployed": deployed(known and known["deployed"])}
    if asked.write:
        asked.write.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
        return 0
    bits, far = differences(found, known)
    operators = sum(len(row["operators"]) for row in known["deployed"].values())
    tried = f"{len(known['searches'])} searches and {operators} operators of {len(known['deployed'])} families"
    print(f"{tried}: {len(bits)} differ in their bits, {len(far)} of them by more than {CLOSE:g}")
    print(f"here: {made}; the record: {dict(list(known.items())[:2])}")
    print(*bits, *far, sep="\n")
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
