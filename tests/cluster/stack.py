"""The compose stack's own start commands and environments, run by hand on hosts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import yaml
from hosts import Host, Process

DOCKER = Path(__file__).parents[2] / "docker"


class Stack:
    """compose.yaml, read as compose would read it.

    Args:
        values: what docker/.env would hold.
        places: folders that stand for the containers' volumes, by their path there.
    """

    def __init__(self, values: Mapping[str, str], places: Mapping[str, Path]) -> None:
        self.values, self.places = values, places
        self.services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]

    def words(self, service: str) -> list[str]:
        return [self._fill(word) for word in self.services[service]["command"]]

    def entrypoint(self, service: str) -> list[str]:
        return [self._fill(word) for word in self.services[service].get("entrypoint", [])]

    def env(self, service: str) -> dict[str, str]:
        """The service's environment on top of a bare one."""
        found = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/root"),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "RAY_DISABLE_IMPORT_WARNING": "1",
        }
        for name in self.services[service].get("env_file", []):
            lines = (DOCKER / name).read_text().splitlines()
            found.update(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        for name, value in self.services[service].get("environment", {}).items():
            found[name] = self._fill(value)
        return found

    def _fill(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            name, default = match[1], match[2]
            if name not in self.values and (default is None or default.startswith("?")):
                raise KeyError(name)
            return self.values.get(name, (default or "").removeprefix("-"))

        text = re.sub(r"\$\{(\w+)(?::(-[^}]*|\?[^}]*))?\}", value, text.replace("$$", "\0")).replace("\0", "$")
        for there, here in self.places.items():
            text = re.sub(rf"(?<![\w/]){re.escape(there)}(?!\w)", str(here), text)
        return text


def start_postgres(host: Host, stack: Stack, folder: Path) -> Process:
    """A PostgreSQL made as the postgres image makes one, with the recipe's own script; not as root."""
    env = stack.env("postgres")
    data, password = folder / "data", folder / "password"
    folder.mkdir()
    password.write_text(env["POSTGRES_PASSWORD"])  # for initdb alone
    for path in (folder, password):
        shutil.chown(path, "postgres", "postgres")
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    arguments = [*env["POSTGRES_INITDB_ARGS"].split(), "--auth-local=trust", "--username=postgres", "--encoding=UTF8"]
    made = host.run([*as_postgres, "initdb", f"--pgdata={data}", f"--pwfile={password}", *arguments], env)
    assert made.returncode == 0, made.stderr
    password.unlink()
    with (data / "pg_hba.conf").open("a") as stream:
        stream.write("host all all all scram-sha-256\n")
    settings = ["-c", "listen_addresses=*", "-c", f"unix_socket_directories={folder}"]
    running = host.start("postgres", [*as_postgres, "postgres", "-D", str(data), *settings], env)
    ready = ["pg_isready", "--username=postgres", f"--host={folder}"]
    until(lambda: host.run(ready, env).returncode == 0, 30, "PostgreSQL")
    made = host.run(["sh", str(DOCKER / "postgres-init.sh")], {**env, "PGHOST": str(folder)})
    assert made.returncode == 0, made.stderr
    return running


def until(true: object, seconds: float, what: str) -> float:
    """Wait for a condition; how long it took."""
    begun = time.time()
    while not true():  # type: ignore[operator]
        if time.time() > begun + seconds:
            raise TimeoutError(f"{what}: not after {seconds:.0f} s")
        time.sleep(0.2)
    return time.time() - begun


def found_in(folder: Path, secrets: Mapping[str, str]) -> list[str]:
    """Files under a folder that hold a secret, as ``name: file``."""
    wrong = []
    for name, secret in secrets.items():
        done = subprocess.run(["grep", "-rlaF", "--", secret, str(folder)], capture_output=True, text=True, check=False)
        wrong += [f"{name}: {line}" for line in done.stdout.splitlines()]
    return wrong
