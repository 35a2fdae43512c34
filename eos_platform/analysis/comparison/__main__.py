"""The measuring half of ``eos compare`` alone: it needs no more than searching does (and Optuna where it tunes).

python -m eos_platform.analysis.comparison --model bundled --ratios .2,.1 --tune 16 --out eos-compare
eos compare --report-only --out eos-compare    # afterwards, where the whole platform is installed
"""

from __future__ import annotations

import argparse
from pathlib import Path

from eos_platform.analysis.comparison.run import run
from eos_platform.analysis.comparison.settings import Settings, parse_designs, parse_ratios, parse_search
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError


def main(words: list[str] | None = None) -> int:
    """Measure; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m eos_platform.analysis.comparison",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fields = Settings.model_fields
    parser.add_argument("operators", nargs="*", type=Path, metavar="OPERATOR", help="operator files")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--task", help="default: what a bundled model was trained on, else scenes")
    parser.add_argument("--ratios", help=f"with commas between; {fields['ratios'].description}")
    parser.add_argument("--designs", help="with commas between, or none; default: all")
    parser.add_argument("--tune", type=int, default=0, metavar="N", help=fields["tune"].description)
    parser.add_argument("--questions", type=int, default=4096, help=fields["questions"].description)
    parser.add_argument("--seeds", type=int, help=fields["seeds"].description)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a search setting")
    parser.add_argument("--batch", type=int, default=8, help=fields["batch"].description)
    parser.add_argument("--pictures", type=int, default=3, help=fields["pictures"].description)
    parser.add_argument("--out", type=Path, default=Path("eos-compare"), help="results folder")
    parser.add_argument("--trust-remote-code", action="store_true", help=fields["trust_remote_code"].description)
    parser.add_argument("--allow-missing", action="store_true", help=fields["allow_missing"].description)
    parser.add_argument("--device", help="default: the GPU if there is one")
    given = parser.parse_args(words)
    try:
        settings = Settings.of(
            operators=tuple(given.operators),
            model=given.model,
            task=given.task,
            ratios=parse_ratios(given.ratios),
            designs=parse_designs(given.designs),
            tune=given.tune,
            questions=given.questions,
            seeds=given.seeds,
            search=parse_search(given.set),
            batch=given.batch,
            pictures=given.pictures,
            out=given.out,
            trust_remote_code=given.trust_remote_code,
            allow_missing=given.allow_missing,
        )
        run(settings, given.device)
    except EosError as error:
        terminal.say(f"compare: {error}", stderr=True)
        return 2
    except KeyboardInterrupt:
        terminal.say("compare: stopped; what has been measured is kept. Run the same command to resume", stderr=True)
        return 130
    terminal.say(f"measured: {given.out}; report it with: eos compare --report-only --out {given.out}", stderr=True)
    return 0


if __name__ == "__main__":
    terminal.run(main)
