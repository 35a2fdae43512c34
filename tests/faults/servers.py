"""Real servers to be killed: MLflow's, PostgreSQL, and the nodes of a Ray cluster on one machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from harness import wait_for


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A process that can be killed and started again with what it stored."""

    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        """SIGKILL, its children included."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


class MlflowServer(Server):
    """An MLflow server with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.folder / "mlflow.out").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"),
                    *("--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"),
                    *("--artifacts-destination", str(self.folder / "artifacts")),
                ],
                stdout=output,
                stderr=output,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                start_new_session=True,
            )
        assert wait_for(self._answers, 180), (self.folder / "mlflow.out").read_text()[-2000:]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Postgres(Server):
    """A PostgreSQL server; SIGKILL takes all of its processes, as a power cut does."""

    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="eos-postgres-")), free_port()
        folder.mkdir(parents=True, exist_ok=True)
        if self.user:
            shutil.chown(self.folder, self.user)
        self._run(["initdb", "-D", str(self.folder / "data"), "-U", "eos", "--auth=trust", "-E", "UTF8"])

    def url(self, database: str) -> str:
        """SQLAlchemy's."""
        return f"postgresql+psycopg://eos@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)  # of the killed one
        with (self.folder / "postgres.out").open("ab") as output:
            self.process = subprocess.Popen(
                ["postgres", "-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder)],
                stdout=output,
                stderr=output,
                user=self.user,
                start_new_session=True,
            )
        assert wait_for(self._answers, 60), (self.folder / "postgres.out").read_text()[-2000:]

    def _answers(self) -> bool:
        import psycopg

        address = {"host": "127.0.0.1", "port": self.port, "user": "eos", "autocommit": True}
        try:
            with psycopg.connect(**address, dbname="postgres", connect_timeout=2) as connection:
                if not connection.execute("select 1 from pg_database where datname = 'optuna'").fetchone():
                    connection.execute("create database optuna")
                return True
        except psycopg.OperationalError:
            return False

    def _run(self, command: list[str]) -> None:
        subprocess.run(command, check=True, capture_output=True, user=self.user, cwd=self.folder)

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        shutil.rmtree(self.folder, ignore_errors=True)


class Nodes:
    """The nodes of ``nodes.py``, with Ray's token on."""

    def __init__(self) -> None:
        from eos_platform.engine.cluster.ray_session import NODE_ENVIRONMENT

        here = str(Path(__file__).parent)
        self.environment = {**NODE_ENVIRONMENT, "RAY_AUTH_TOKEN": "a token of these nodes alone, long enough"}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(here) / "nodes.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self.environment, "PYTHONPATH": os.pathsep.join([here, *filter(None, sys.path)])},
            text=True,
        )
        self.address = self._answer()

    def kill_one(self) -> None:
        """SIGKILL of a raylet."""
        self._tell("kill")

    def join(self) -> None:
        """Another node."""
        self._tell("join")

    def _tell(self, what: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        assert self._answer() == "done"

    def _answer(self) -> str:
        assert self.process.stdout
        for line in self.process.stdout:
            if line == "done\n" or line.strip().rpartition(":")[2].isdigit():
                return line.strip()
        raise AssertionError("the nodes ended")

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *error: Any) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(120)
