"""A driver process to be hurt: ``python fault_driver.py RUNS STUDY.json [ADDRESS]``."""

import json
import sys
from pathlib import Path

import fault_fakes as fakes
import pandas as pd

from eos_platform.common.errors import EosError
from eos_platform.engine import study as engine
from eos_platform.engine.driver import Interrupted
from eos_platform.engine.study import Study


def main() -> int:
    changes = json.loads(Path(sys.argv[2]).read_text())
    real = changes.pop("real", False)  # the true search on a bundled model
    study = Study(
        fakes.study_file(**changes),
        runs=sys.argv[1],
        functions=None if real else fakes.FUNCTIONS,
        address=sys.argv[3] if len(sys.argv) > 3 else "local",
    )
    if not real:  # the comparison at the end only reads; it has its own tests
        engine.finish = lambda *given: pd.DataFrame(columns=[*engine.NUMBERS, *engine.WORDS])
        engine.points_table = lambda *given: "done"
    try:
        study.run()
    except EosError as error:
        print(f"eos: {error}", flush=True)
        return 2
    except (Interrupted, KeyboardInterrupt):
        print("eos: stopped", flush=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
