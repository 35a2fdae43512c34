"""What a study says of nodes that cannot run it, over real hosts: ``python tests/cluster/refusals.py FOLDER`` (root).

A host without the package, one whose storage is its own, one with another token, one without any; then the study runs
on the host without the package once the code is sent to it. No databases: the stores are files.
"""

from __future__ import annotations

import os
import secrets
import sys
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hosts import Hosts
from many_hosts import SECRETS, STUDY, Account
from stack import Stack, until

NAMES = {"services": ("head", "postgres", "mlflow"), "worker": ()}


def without_package(folder: Path) -> Path:
    """An environment with everything but this package; its ``bin``."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    # .pth files of these folders, an editable install's among them, are not read from here
    (site / "others.pth").write_text("\n".join(others))
    (folder / "bin" / "ray").write_text(f"#!{folder}/bin/python\nfrom ray.scripts.scripts import main\nmain()\n")
    (folder / "bin" / "ray").chmod(0o755)
    return folder / "bin"


def main(folder: Path) -> int:
    """Run it all; 0 when every refusal came in one line with exit code 2, and the sent code ran."""
    (folder / "runs").mkdir(parents=True)
    (folder / "hidden").mkdir()
    (folder / "hosts.yaml").write_text(STUDY.replace("trials: 6", "trials: 1"))
    values = {**{key: secrets.token_hex(32) for key in SECRETS}, "EOS_WORKER_CPUS": "1"}
    stack = Stack(values, {"/runs": folder / "runs", "/artifacts": folder})
    account, wrong = Account(folder / "account.txt"), []
    bare = without_package(folder / "bare")
    env = stack.env("head")
    driving = {**env, "EOS_STORES_STORAGE": str(folder / "runs" / "states")}
    with Hosts(NAMES, folder / "hosts") as hosts:
        head, worker = hosts["services"], hosts["worker"]
        running = [head.start("head", stack.words("head"), env)]
        check = stack.services["head"]["healthcheck"]["test"][1:]
        until(lambda: head.run(check, env).returncode == 0, 120, "the head")

        def refused(what: str, says: str, *words: str, env: dict[str, str] = driving) -> None:
            done = head.run(words, env, timeout=300, cwd=folder)
            line = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
            account(f"{what}: exit code {done.returncode}: {line}")
            if done.returncode != 2 or says not in line:
                wrong.append(f"{what}: {done.returncode} {done.stdout[-500:]} {done.stderr[-1500:]}")

        run = ("eos", "study", "run", str(folder / "hosts.yaml"), "--address", "auto", "--runs", str(folder / "runs"))
        other = {**driving, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        refused("another token", "token", *run, env=other)
        refused("no worker", "a search wants 1 cores, there are 0", *run)

        worker.hidden = [(folder / "hidden", folder / "runs")]
        alone = worker.start("alone", stack.words("worker"), stack.env("worker"))
        alone.wait_for("Ray runtime started", 120)
        refused("a storage of its own", "does not share the storage", *run)
        alone.end()
        worker.hidden = []

        # run outside the checkout: Ray puts the driver's working folder on the workers' path, and here all share it
        path = {**stack.env("worker"), "PATH": f"{bare}:{os.environ['PATH']}"}
        lacking = worker.start("lacking", stack.words("worker"), path)
        lacking.wait_for("Ray runtime started", 120)
        refused("no package", "lacks eos-platform", *run)
        done = head.run([*run, "--ship-code"], driving, timeout=580, cwd=folder)
        account(f"no package, --ship-code: exit code {done.returncode}")
        if done.returncode:
            wrong.append(f"--ship-code: {done.stdout[-1500:]} {done.stderr[-1500:]}")
        for process in (lacking, *running):
            process.end()
    for one in wrong:
        account(f"WRONG: {one}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
