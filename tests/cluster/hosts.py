"""Hosts on one machine: network namespaces on a bridge, each with an address, names and a /tmp/ray of its own.

Needs root and iproute2. Nothing outside the namespaces is reachable from them, nor they from outside.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

HUB = "eos-hub"
NETWORK = "10.77.0"


def possible() -> str:
    """Why there can be no hosts here; empty when there can."""
    if os.geteuid():
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    made = subprocess.run(["ip", "netns", "add", "eos-trial"], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "delete", "eos-trial"], capture_output=True, check=False)
    return made.stderr.strip()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Host:
    """One namespace. ``start`` runs a process in it, with its output in a file and, line by line, with times."""

    def __init__(self, name: str, number: int, folder: Path) -> None:
        self.name, self.number, self.folder = name, number, folder
        self.space, self.address = f"eos-{name}", f"{NETWORK}.{number}"
        self.folder.mkdir(parents=True)
        (self.folder / "ray").mkdir()
        self.hidden: list[tuple[Path, Path]] = []  # (what is put, over what)

    def connect(self) -> None:
        ip("netns", "add", self.space)
        ip("-n", HUB, "link", "add", f"v-{self.name}", "type", "veth", "peer", "name", "eth0", "netns", self.space)
        ip("-n", HUB, "link", "set", f"v-{self.name}", "master", "bridge", "up")
        ip("-n", self.space, "link", "set", "lo", "up")
        ip("-n", self.space, "address", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.space, "link", "set", "eth0", "up")

    def cut(self) -> float:
        """Pull the cable. When."""
        ip("-n", HUB, "link", "set", f"v-{self.name}", "down")
        return time.time()

    def restore(self) -> float:
        ip("-n", HUB, "link", "set", f"v-{self.name}", "up")
        return time.time()

    def command(self, words: Iterable[str]) -> list[str]:
        """``words`` in this host: ip gives it the network and /etc/hosts, a mount its own /tmp/ray. As in a container,
        Ray finds its address by the host's own name."""
        mounts = [(self.folder / "ray", Path("/tmp/ray")), *self.hidden]
        binds = " && ".join(f"mount --bind {source} {target}" for source, target in mounts)
        own = ["ip", "netns", "exec", self.space, "unshare", "--uts", "sh", "-c"]
        return [*own, f'hostname {self.name} && {binds} && exec "$@"', "sh", *words]

    def start(self, what: str, words: Iterable[str], env: Mapping[str, str]) -> Process:
        return Process(what, self.command(words), env, self.folder / f"{what}.log")

    def run(
        self, words: Iterable[str], env: Mapping[str, str], timeout: float = 120, cwd: Path | None = None
    ) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(words), env=dict(env), capture_output=True, text=True, timeout=timeout, check=False, cwd=cwd
        )


class Process:
    """A process with the time of each line it printed."""

    def __init__(self, what: str, words: list[str], env: Mapping[str, str], log: Path) -> None:
        self.what, self.lines = what, []
        self.log = log.open("a")
        self.child = subprocess.Popen(
            words,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.lines.append((time.time(), line.rstrip()))
            self.log.write(line)
            self.log.flush()

    def seen(self, text: str, after: float = 0.0) -> float | None:
        """When a line holding ``text`` came, after a time."""
        return next((when for when, line in list(self.lines) if when >= after and text in line), None)

    def wait_for(self, text: str, seconds: float, after: float = 0.0) -> float:
        end = time.time() + seconds
        while time.time() < end:
            if when := self.seen(text, after):
                return when
            if self.child.poll() is not None:
                self.reader.join(5)
                if when := self.seen(text, after):
                    return when
                break
            time.sleep(0.1)
        raise TimeoutError(f"{self.what} did not say {text!r}:\n" + "\n".join(line for _, line in self.lines[-20:]))

    def end(self) -> None:
        """End it and all it started."""
        for name in ("SIGTERM", "SIGKILL"):
            try:
                os.killpg(self.child.pid, getattr(__import__("signal"), name))
            except ProcessLookupError:
                break
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                continue
        self.log.close()


class Hosts:
    """Hosts by name, up for a ``with`` block; each knows the others' names.

    Args:
        names: of each host, with what else it is called.
    """

    def __init__(self, names: Mapping[str, tuple[str, ...]], folder: Path) -> None:
        self.names = names
        self.hosts = {name: Host(name, number, folder / name) for number, name in enumerate(names, start=1)}

    def __enter__(self) -> dict[str, Host]:
        self.remove()  # what a killed run left
        Path("/tmp/ray").mkdir(exist_ok=True)
        ip("netns", "add", HUB)
        ip("-n", HUB, "link", "add", "bridge", "type", "bridge")
        ip("-n", HUB, "link", "set", "bridge", "up")
        lines = [f"{host.address} {host.name} {' '.join(self.names[host.name])}" for host in self.hosts.values()]
        for host in self.hosts.values():
            host.connect()
            etc = Path("/etc/netns", host.space)
            etc.mkdir(parents=True, exist_ok=True)
            (etc / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        return self.hosts

    def __exit__(self, *error: object) -> None:
        self.remove()

    def remove(self) -> None:
        """End what still runs in the namespaces, and remove them."""
        for space in [host.space for host in self.hosts.values()] + [HUB]:
            listed = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True, check=False)
            for pid in listed.stdout.split():
                try:
                    os.kill(int(pid), 9)
                except ProcessLookupError:
                    continue
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)
            shutil.rmtree(Path("/etc/netns", space), ignore_errors=True)
