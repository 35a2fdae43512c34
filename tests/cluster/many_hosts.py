"""A study over several hosts with PostgreSQL and an MLflow server, one host's cable pulled while it searches.

    python tests/cluster/many_hosts.py FOLDER      (as root; keeps logs and a timed account in FOLDER)

The start commands and environments are those of docker/compose.yaml. Exits 1 if a trial was lost or done twice, a
record stayed open, a secret was written anywhere, or a dead host took more than 10 s to notice.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hosts import Host, Hosts, Process
from stack import Stack, found_in, start_postgres, until

# the names containers would have
NAMES = {"services": ("postgres", "mlflow", "head"), "left": (), "right": (), "driver": (), "late": ()}
STUDY = """
name: hosts
model: bundled-small
search: {steps: 40, batch_size: 8, search_questions: 256, eval_questions: 128}
space:
  budget: {float: [0.15, 0.4]}
sampler: qmc
trials: 6
concurrent: 3
resources: {cpu: 1, memory: 500MB}
final: {questions: 64, baselines: [random], ratios: 1}
"""
NOTICE = 10.0  # seconds
SECRETS = (
    "RAY_AUTH_TOKEN",
    "POSTGRES_PASSWORD",
    "OPTUNA_PASSWORD",
    "MLFLOW_PASSWORD",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
)

# what the stores hold in the end, asked in the driver's place
AUDIT = """
import json, os, sys
import optuna, mlflow
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="hosts", storage=os.environ["EOS_STORES_OPTUNA"])
trials = study.get_trials(deepcopy=False)
client = mlflow.MlflowClient(os.environ["EOS_STORES_MLFLOW"])
experiment = client.get_experiment_by_name("hosts")
runs = client.search_runs([experiment.experiment_id], max_results=1000)
again = {t.user_attrs["retry_of"] for t in trials if "retry_of" in t.user_attrs}
print(json.dumps({
    "optuna": {t.number: [t.state.name, t.values, t.user_attrs.get("mlflow_run_id")] for t in trials},
    "finished": [t.number for t in trials if t.state.name == "COMPLETE" and t.number not in again],
    "mlflow": {r.info.run_id: [r.info.run_name, r.info.status, r.data.metrics.get("accuracy")] for r in runs},
}))
"""


class Account:
    """What happened, with the seconds since the beginning."""

    def __init__(self, path: Path) -> None:
        self.begun, self.stream = time.time(), path.open("w")

    def __call__(self, what: str, when: float | None = None) -> None:
        line = f"{(when or time.time()) - self.begun:7.1f} s  {what}"
        print(line, flush=True)
        self.stream.write(line + "\n")
        self.stream.flush()


def main(folder: Path) -> int:
    """Run it all; 0 when everything held."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    hidden = {key: secrets.token_hex(32) for key in SECRETS}
    values = {**hidden, "EOS_WORKER_CPUS": "1"}
    places = {"/runs": folder / "runs", "/artifacts": folder / "artifacts"}
    for place in places.values():
        place.mkdir()
    (folder / "hosts.yaml").write_text(STUDY)
    account, stack = Account(folder / "account.txt"), Stack(values, places)
    processes: dict[str, Process] = {}
    with Hosts(NAMES, folder / "hosts") as hosts:
        try:
            wrong = _story(hosts, stack, processes, account, folder)
        finally:
            for process in reversed(processes.values()):
                process.end()
        # every log, Ray's included, every result and artifact, and MLflow's whole database
        wrong += [f"a secret lies open: {leak}" for leak in found_in(folder, hidden)]
    for one in wrong:
        account(f"WRONG: {one}")
    account("everything held" if not wrong else f"{len(wrong)} things went wrong")
    return bool(wrong)


def _story(
    hosts: dict[str, Host], stack: Stack, running: dict[str, Process], account: Account, folder: Path
) -> list[str]:
    services, driver = hosts["services"], hosts["driver"]
    running["postgres"] = start_postgres(services, stack, folder / "postgres")
    account("PostgreSQL is ready: two databases, two roles, scram-sha-256")
    begun = time.time()
    running["head"] = services.start("head", stack.words("head"), stack.env("head"))
    running["mlflow"] = services.start("mlflow", stack.words("mlflow"), stack.env("mlflow"))
    for name in ("left", "right"):
        until(lambda: _joined(services, stack), 60, "Ray's head")
        running[name] = hosts[name].start("worker", stack.words("worker"), stack.env("worker"))
    for name in ("left", "right"):
        running[name].wait_for("Ray runtime started", 90)
    account(f"head at {services.address}, workers at {hosts['left'].address} and {hosts['right'].address}")
    healthy = stack.services["mlflow"]["healthcheck"]["test"][1:]
    until(lambda: services.run(healthy, stack.env("mlflow")).returncode == 0, 120, "MLflow")
    account(f"MLflow is ready ({time.time() - begun:.0f} s after its start)")

    # the driver's container: joins as a node that offers nothing, then runs the study
    shell = stack.entrypoint("study")
    study = running["study"] = driver.start("study", [*shell, str(folder / "hosts.yaml")], stack.env("study"))
    study.wait_for("starting Ray", 90)
    account("eos study run has begun", study.seen("starting Ray"))
    states = folder / "runs" / "states" / "hosts" / "states"
    # a search on the right host must be well under way: both have saved a state once
    until(lambda: len(list(states.glob("trial-*/*.safetensors"))) >= 2, 240, "two searches with a saved state")
    cut = hosts["right"].cut()
    account(f"the cable of {hosts['right'].address} is pulled", cut)
    wrong = []
    noticed = study.wait_for(f"node {hosts['right'].address} left", 90, after=cut)
    account(f"the study says so: noticed after {noticed - cut:.1f} s", noticed)
    if noticed - cut > NOTICE:
        wrong.append(f"noticed after {noticed - cut:.1f} s")
    late = hosts["late"]
    running["late"] = late.start("worker", stack.words("worker"), stack.env("worker"))
    joined = study.wait_for(f"node {late.address} joined", 90, after=cut)
    account(f"a fresh host, {late.address}, has joined the running study", joined)
    back = hosts["right"].restore()
    account("the cable is back", back)
    until(lambda: running["right"].child.poll() is not None, 60, "the end of the Ray that was cut off")
    account(f"the Ray that was cut off heard that it was given up, and ended ({time.time() - back:.1f} s later)")
    running["right again"] = hosts["right"].start("worker-again", stack.words("worker"), stack.env("worker"))
    joined = study.wait_for(f"node {hosts['right'].address} joined", 90, after=cut)
    account("its restart has joined again", joined)
    try:
        study.wait_for("table      ", 600)
    except TimeoutError as error:
        account(str(error))
        return [*wrong, "the study did not end well"]
    study.child.wait(60)
    account(f"the study has ended, exit code {study.child.returncode}")
    for when, line in study.lines:
        account(f"    | {line}", when)
    return wrong + _audit(driver, stack, account, folder)


def _joined(host: Host, stack: Stack) -> bool:
    check = stack.services["head"]["healthcheck"]["test"][1:]
    return host.run(check, stack.env("head")).returncode == 0


def _audit(driver: Host, stack: Stack, account: Account, folder: Path) -> list[str]:
    """Compare the stores record by record."""
    done = driver.run([sys.executable, "-c", AUDIT], stack.env("study"))
    if done.returncode:
        return [f"the stores cannot be read: {done.stderr[-2000:]}"]
    found = json.loads(done.stdout.splitlines()[-1])
    (folder / "stores.json").write_text(json.dumps(found, indent=1))
    wrong = []
    states = [state for state, _, _ in found["optuna"].values()]
    account(f"Optuna: {', '.join(f'{states.count(state)} {state}' for state in sorted(set(states)))}")
    kinds = [status for _, status, _ in found["mlflow"].values()]
    account(f"MLflow: {', '.join(f'{kinds.count(kind)} {kind}' for kind in sorted(set(kinds)))}")
    if len(found["finished"]) != 6:
        wrong.append(f"{len(found['finished'])} trials finished, not 6")
    if open_ := [number for number, (state, _, _) in found["optuna"].items() if state in ("RUNNING", "WAITING")]:
        wrong.append(f"Optuna trials left open: {open_}")
    if open_ := [name for name, status, _ in found["mlflow"].values() if status == "RUNNING"]:
        wrong.append(f"MLflow runs left open: {open_}")
    names = [name for name, _, _ in found["mlflow"].values()]
    if doubled := {name for name in names if names.count(name) > 1}:
        wrong.append(f"MLflow runs twice: {doubled}")
    for number, (state, values, run) in found["optuna"].items():
        if state == "COMPLETE" and (run not in found["mlflow"] or found["mlflow"][run][2] != values[0]):
            wrong.append(f"trial {number} differs between the stores")
    return wrong


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
