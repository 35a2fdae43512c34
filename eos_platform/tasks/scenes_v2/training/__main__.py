"""Train several models at once, shared out over the GPUs there are.

    python -m eos_platform.tasks.scenes_v2.training --minutes 8 --gpus 2 --out trained

Each model is a process of its own: one that fails stops no other. What they print goes to ``training.log`` in the
folder of the results, which holds each model's folder as of its last checkpoint, and of its examination at the end.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from eos_platform.common.errors import EosError, unknown
from eos_platform.tasks.scenes_v2.training.families import FAMILIES, family
from eos_platform.tasks.scenes_v2.training.words import new_tokenizer

PART = 15 * 2**20  # bytes


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models",
        default=",".join(FAMILIES),
        help="names with commas between them; small-10m and small-30m are others",
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="training time, compiling counted in")
    parser.add_argument("--gpus", type=int, default=1, help="how many to use; 0: the CPU")
    parser.add_argument("--place", default="", help="MODEL:GPU,... where the sharing out is not wanted")
    parser.add_argument("--workers", type=int, default=0, help="rendering processes a model; 0: a fair share of cores")
    parser.add_argument("--grace", type=float, default=75.0, help="seconds for the closing examinations")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", type=Path, help="go on from the models' folders in this one")
    parser.add_argument("--pack", type=Path, help="train in this folder; --out gets tar files in parts of 15 MiB")
    options, further = parser.parse_known_args()
    options.further = further  # for each model's process
    return options


def placed(models: Sequence[str], gpus: int, wanted: str) -> dict[str, int]:
    """A GPU for each model, the costliest ones first to the GPU with the least to do.

    Raises:
        EosError: a model or GPU that is not there.
    """
    gpu_of: dict[str, int] = {}
    for pair in filter(None, wanted.split(",")):
        name, _, number = pair.partition(":")
        if name not in models:
            raise unknown("model", name, models)
        if not number.isdecimal() or int(number) >= max(1, gpus):
            raise EosError(f"'{pair}': GPUs are numbered 0 to {max(1, gpus) - 1}")
        gpu_of[name] = int(number)
    load = [0.0] * max(1, gpus)
    for name, gpu in gpu_of.items():
        load[gpu] += family(name).cost
    for name in sorted(set(models) - set(gpu_of), key=lambda name: -family(name).cost):
        gpu_of[name] = load.index(min(load))
        load[gpu_of[name]] += family(name).cost
    return gpu_of


class Trained:
    """One model's process, and what it prints."""

    def __init__(self, name: str, command: list[str], gpu: int | None, log: IO[str], lock: threading.Lock) -> None:
        self.name, self.packed = name, 0.0
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        env = {**threads, "TORCHINDUCTOR_COMPILE_THREADS": "4", "PYTHONUNBUFFERED": "1", **os.environ}
        if gpu is not None:
            visible = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
            env["CUDA_VISIBLE_DEVICES"] = visible[gpu] if gpu < len(visible) else str(gpu)
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        self.reader = threading.Thread(target=self._read, args=(log, lock), daemon=True)
        self.reader.start()

    def _read(self, log: IO[str], lock: threading.Lock) -> None:
        for line in self.process.stdout or ():
            with lock:
                log.write(f"{self.name}: {line}")
                log.flush()
                print(f"{self.name}: {line}", end="", flush=True)


def pack(folder: Path, out: Path) -> None:
    """A model's folder as NAME.tar.0, .1, ... of at most 15 MiB: ``cat NAME.tar.* | tar x``."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        tar.add(folder, folder.name)
    data = held.getvalue()
    for number, start in enumerate(range(0, len(data), PART)):
        new = out / f".{folder.name}.new"
        new.write_bytes(data[start : start + PART])
        new.rename(out / f"{folder.name}.tar.{number}")


def main() -> int:
    options = arguments()
    models = list(dict.fromkeys(filter(None, options.models.split(","))))
    for name in models:
        family(name)
        if options.resume and not (options.resume / name / "config.json").is_file():
            raise EosError(f"there is no model to go on from in '{options.resume / name}'")
    until = time.time() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    home = options.pack or options.out
    home.mkdir(parents=True, exist_ok=True)
    new_tokenizer().save_pretrained(home / "tokenizer")
    cores = os.cpu_count() or 1
    weight = {name: max(0.7, min(1.3, family(name).cost)) for name in models}
    share = max(1, cores - len(models) - 1) / sum(weight.values())
    lock = threading.Lock()
    with (options.out / "training.log").open("a") as log:
        running = []
        for name, gpu in placed(models, options.gpus, options.place).items():
            flags: dict[str, object] = {
                "--model": name,
                "--out": home / name,
                "--until": until,
                "--tokenizer": home / "tokenizer",
            }
            flags["--workers"] = options.workers or max(1, round(share * weight[name]))
            if options.resume:
                flags["--resume"] = options.resume / name
            command = [sys.executable, "-m", f"{__package__}.run", *(str(x) for pair in flags.items() for x in pair)]
            running.append(Trained(name, command + options.further, gpu if options.gpus else None, log, lock))
        failed = watch(running, home, options.out if options.pack else None, until + options.grace)
        for name, code in failed.items():
            print(f"{name}: failed with exit status {code}", flush=True)
    return 1 if failed else 0


def watch(running: list[Trained], home: Path, out: Path | None, limit: float) -> dict[str, int]:
    """Wait for all, pack what has been saved anew, end those that take too long; exit statuses of those that failed."""
    left = list(running)
    while left:
        time.sleep(1)
        for one in list(left):
            done = one.process.poll() is not None
            if not done and time.time() > limit:
                one.process.kill()
                continue
            summary = home / one.name / "training.json"
            try:
                if out is not None and summary.stat().st_mtime > one.packed:
                    one.packed = summary.stat().st_mtime
                    pack(home / one.name, out)
            except OSError:
                one.packed = 0.0  # not saved yet, or just being exchanged
            if done:
                one.reader.join(timeout=5)
                left.remove(one)
    return {one.name: one.process.returncode for one in running if one.process.returncode}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EosError as error:
        sys.exit(f"error: {error}")
