"""What each design's reducer itself costs: time of all its decoder sites, as a share of one decoder layer's.

    python -m eos_platform.analysis.experiments.reducer_cost --tokens 576 2880 --batch 1 8 --out reducers.json
    python -m eos_platform.analysis.experiments.reducer_cost --width 256 --tokens 144 --batch 1  # a small try on a CPU

One decoder layer of Llama's kind with random weights stands for all of the model's (as wide as LLaVA-1.5-7B's unless
told otherwise). A reducer is everything a prompt's prefill does because of the operator in the decoder: finding the
tokens that entered, the rows of attention its scores need, similarities, selection, transfer, new rotary embeddings.
What an operator does inside the vision tower is not in it. Eager times hold the launching of kernels; beside them stand
those of the same work captured in a CUDA graph, where it can be. A design that fails has its reason for a row; rows are
in ``--out`` as soon as they are measured; the last thing printed is one line a design.

Legend: b batch, s prompt, n visual tokens.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaModel

from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.costs.prefill_time import median_ms
from eos_platform.models.adapters.target import Parts
from eos_platform.models.attention.rope import Rope
from eos_platform.models.loading.devices import find_device
from eos_platform.models.runtime.layout import Layout, TowerTokens
from eos_platform.models.runtime.site_step import apply_site, enter
from eos_platform.operators.designs import get_design, suited
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec, Target
from eos_platform.operators.tokens import gather_tokens

LAYERS, VISION_LAYERS, HEAD, TOWER_HEAD = 32, 23, 128, 64  # LLaVA-1.5-7B
WIDER = 11008 / 4096  # of the layer's MLP
AWAKE = 200  # layers run before anything is measured: a device that was idle is slow at first
ENOUGH, FEWEST, MOST = 300.0, 5, 20  # repeats: as many as take so many milliseconds, within these bounds


class Bench:
    """One decoder layer, and prompts for it: a first token, ``tokens`` visual ones, then text."""

    def __init__(self, width: int, tokens: int, text: int, batch: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.device, self.tokens, self.batch = device, tokens, batch
        self.model = one_layer(width, device)
        self.layer = self.model.layers[0]
        self.target = Target(layers=LAYERS, grid=squarest(tokens), vision_layers=VISION_LAYERS)
        length = tokens + text
        # drawn on the host, here and below: a capture that failed can leave the device's generator unusable
        self.x_bsd = torch.randn(batch, length, width).to(device, self.model.dtype)
        self.earlier_bsd = torch.randn(batch, length, width).to(device, self.model.dtype)  # as a layer before
        self.position_bs = torch.arange(length, device=device)[None]
        self.rope = Rope(*self.model.rotary_emb(self.x_bsd, self.position_bs))
        self.parts = Parts(
            body=None,
            language_model=self.model,
            layers=(self.layer,),
            tower=None,
            image_token=0,
            grid=self.target.grid,
            blocks=(),
            used=0,
            states=0,
        )

    def layout(self, operator: OperatorSpec) -> Layout:
        """The prompts as the vision tower leaves them."""
        place_bs, entering = self.position_bs.expand(self.batch, -1), operator.entering
        here: dict[str, Any] = {"device": self.device}
        seen = None
        if entering < self.tokens:
            index_br = torch.linspace(0, self.tokens - 1, entering, **here).long().expand(self.batch, -1)
            seen = TowerTokens(index_br, torch.full((self.batch, entering), self.tokens / entering, **here))
        return Layout(
            visual_bn=place_bs[:, 1 : self.tokens + 1],
            text_bs=place_bs > self.tokens,
            last_b=place_bs[:, -1],
            valid_bs=place_bs >= 0,
            features={
                "vision": torch.rand(self.batch, entering).to(self.device),
                "next_vision": torch.rand(self.batch, entering).to(self.device),
                "keys": torch.randn(self.batch, entering, TOWER_HEAD).to(self.device),
            },
            seen=seen,
        )

    def reducer(self, operator: OperatorSpec) -> Callable[[], Any]:
        """All the operator does in the decoder, one site after another."""
        layout, plan = self.layout(operator), OperatorPlan.of(operator)

        def work() -> Any:
            present, x_bkd, keep_bk = enter(layout, self.position_bs, self.x_bsd, plan.features, self.parts.grid)
            if plan.reads_earlier:
                present = replace(present, earlier_bkd=gather_tokens(self.earlier_bsd, keep_bk))
            rope = Rope(*(part.expand(self.batch, -1, -1) for part in self.rope)).at(keep_bk)
            for planned in plan.decoder:
                present, x_bkd, keep_bk = apply_site([planned], present, x_bkd, rope, self.layer, self.parts)
                if planned.site.positions == "renumber":
                    rope = Rope(*self.model.rotary_emb(x_bkd, present.position_bk))
                else:
                    rope = rope.at(keep_bk)
            return x_bkd

        return work

    def whole_layer(self) -> Any:
        """The decoder layer over every token."""
        return self.layer(self.x_bsd, position_embeddings=tuple(self.rope), position_ids=self.position_bs)

    @torch.no_grad()
    def wake(self) -> None:
        """Bring the device to its pace."""
        for _ in range(AWAKE if self.device.type == "cuda" else 0):
            self.whole_layer()

    @torch.no_grad()
    def cost(self, work: Callable[[], Any]) -> tuple[float, float | None]:
        """Milliseconds eager, and in a CUDA graph where ``work`` can be captured."""
        if self.device.type != "cuda":
            return median_ms(work, self.device), None
        repeats = max(FEWEST, min(MOST, int(ENOUGH / median_ms(work, self.device, repeats=1))))
        return median_ms(work, self.device, repeats), _in_graph(work, self.device, repeats)


def _in_graph(work: Callable[[], Any], device: torch.device, repeats: int) -> float | None:
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            work()
    except RuntimeError:  # something waits for the device
        torch.cuda.synchronize(device)
        return None
    return median_ms(graph.replay, device, repeats)


@lru_cache(maxsize=1)
def one_layer(width: int, device: torch.device) -> Any:
    """A model of one decoder layer; drawing its weights takes longer than measuring most designs."""
    head = min(HEAD, width)
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=width,
        intermediate_size=round(WIDER * width),
        num_hidden_layers=1,
        num_attention_heads=width // head,
    )
    model: Any = LlamaModel(config)
    return model.to(device, torch.bfloat16 if device.type == "cuda" else torch.float32).eval().requires_grad_(False)


def squarest(tokens: int) -> tuple[int, int]:
    """Rows and columns of a grid of ``tokens``, as near to a square as they divide."""
    rows = max(rows for rows in range(1, math.isqrt(tokens) + 1) if tokens % rows == 0)
    return rows, tokens // rows


def costs(bench: Bench, names: Sequence[str], share: float) -> Iterator[dict[str, Any]]:
    """One row a design, as soon as it is measured: its times, and as shares of the layer's.

    Args:
        share: mean visual tokens entering the decoder layers, as a share of all.
    """
    bench.wake()
    layer, layer_graph = bench.cost(bench.whole_layer)
    shared = {"tokens": bench.tokens, "batch": bench.batch, "layer_ms": layer, "layer_graph_ms": layer_graph}
    for name in names:
        row: dict[str, Any] = {"design": name, **shared}
        try:
            design = get_design(name)
            operator = design.build(bench.target, bench.tokens if design.fixed else share * bench.tokens)
            eager, graph = bench.cost(bench.reducer(operator))
        except Exception as error:  # the other designs are measured all the same
            reason = str(error).strip() or type(error).__name__
            yield {**row, "reason": reason.splitlines()[0]}
            continue
        yield row | {
            "sites": len(operator.decoder_sites),
            "tower": operator.sees_less,
            "mean_tokens": operator.mean_tokens,
            "eager_ms": eager,
            "graph_ms": graph,
            "eager_share": eager / layer,
            "graph_share": graph / layer_graph if graph is not None and layer_graph is not None else None,
        }


def line(row: dict[str, Any]) -> str:
    """A row for a terminal."""
    begun = f"{row['design']:14}{row['tokens']:>7}{row['batch']:>6}"
    if "reason" in row:
        return f"{begun}  {row['reason']}"
    text = f"{begun}{row['sites']:>6} sites{row['eager_ms']:>10.3f} ms{row['eager_share']:>8.2f}"
    if row["graph_share"] is not None:
        text += f"  in a graph{row['graph_ms']:>10.3f} ms{row['graph_share']:>8.2f}"
    return text + ("  (and the vision tower)" if row["tower"] else "")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One line a design: shares of a decoder layer, eager / in a graph, at each number of tokens and batch."""
    settings = list(dict.fromkeys((row["tokens"], row["batch"]) for row in rows))
    by_design: dict[str, dict[tuple[int, int], str]] = {}
    for row in rows:
        eager, graph = row.get("eager_share"), row.get("graph_share")
        shares = "failed" if eager is None else f"{eager:.2f} / " + ("-" if graph is None else f"{graph:.2f}")
        by_design.setdefault(row["design"], {})[row["tokens"], row["batch"]] = shares
    heads = "".join(f"{f'{tokens} x {batch}':>16}" for tokens, batch in settings)
    lines = [
        f"{name:14}" + "".join(f"{cells.get(key, ''):>16}" for key in settings) for name, cells in by_design.items()
    ]
    return "\n".join([f"{'tokens x batch':14}{heads}", *lines])


def main(words: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--designs", nargs="*", default=list(suited()))
    parser.add_argument("--tokens", type=int, nargs="*", default=[576, 2880], help="visual tokens")
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--width", type=int, default=4096, help="of the decoder layer; 128 a head")
    parser.add_argument("--text", type=int, default=60, help="tokens that are not visual")
    parser.add_argument("--share", type=float, default=2 / 9, help="mean visual tokens left, of all (128 of 576)")
    parser.add_argument("--device", help="default: the GPU if there is one")
    parser.add_argument("--out", type=Path, help="also write the rows here, as JSON")
    given = parser.parse_args(words)
    rows: list[dict[str, Any]] = []
    try:
        for name in given.designs:
            get_design(name)
        device = find_device(given.device)
        if given.out:
            check_writable(given.out)
        for tokens in given.tokens:
            for batch in given.batch:
                bench = Bench(given.width, tokens, given.text, batch, device)
                for row in costs(bench, given.designs, given.share):
                    if not rows or (rows[-1]["tokens"], rows[-1]["batch"]) != (tokens, batch):
                        terminal.say(f"decoder layer: {row['layer_ms']:.3f} ms eager" + _graph(row))
                    terminal.say(line(row))
                    rows.append(row)
                    if given.out:
                        write_atomic(given.out, strict_json.dumps(strict_json.plain(rows), indent=1) + "\n")
    except EosError as error:
        terminal.say(f"reducer_cost: {error}", stderr=True)
        return 2
    terminal.say(table(rows))
    return 0


def _graph(row: dict[str, Any]) -> str:
    time = row.get("layer_graph_ms")
    return "" if time is None else f", {time:.3f} ms in a graph"


if __name__ == "__main__":
    terminal.run(main)
