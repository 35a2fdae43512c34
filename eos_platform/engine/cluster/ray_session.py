"""Ray: starting it quietly, or joining a cluster, and what every node of a cluster is started with."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from eos_platform.common.boundary import error_text
from eos_platform.common.console import interrupt
from eos_platform.common.errors import EosError

PACKAGE = str(Path(os.path.abspath(__file__)).parents[2])  # eos_platform, as it is addressed
OBJECT_STORE_BYTES = 200 * 1024 * 1024  # trials exchange a few kilobytes
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a relative model folder means the same in the worker
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the stores hold it all; the loggers cost more than a small trial
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints at any verbosity
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "30",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines a run, with a server
}


# For every node (``eos cluster env``): nobody joins without the token, and a node that dies or is cut off is noticed
# after three unanswered questions, about 7 s, instead of a minute.
NODE_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1500",
    "RAY_health_check_failure_threshold": "3",
    "RAY_USAGE_STATS_ENABLED": "0",
}
CONNECT_SECONDS = 5.0


@contextmanager
def ray_session(address: str = "local", ship_code: bool = False) -> Iterator[None]:
    """Ray for the length of the block; a Ray that this process is connected to already is used and left up.

    Args:
        address: "local" starts one on this machine; "auto" or HOST:PORT joins the cluster this machine is a node of.
        ship_code: send this package to nodes that lack it (they need its dependencies).

    Raises:
        EosError: no cluster answers at ``address``, it does not take this machine's token, or this process is
            connected to another one.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    logging.getLogger("ray").setLevel(logging.ERROR)
    if ray.is_initialized():
        _connected_to(address)
        yield
        return
    options: dict[str, Any] = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    if address != "local":
        _reachable(address)
        options = {"runtime_env": {"py_modules": [PACKAGE]}} if ship_code else {}
    try:
        with _ignore_hangups():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **options)
    except ray.exceptions.AuthenticationError as error:
        raise EosError(f"cannot reach Ray at '{address}': {first_line(error)} ({_TOKEN})") from None
    except (ConnectionError, RuntimeError, ValueError, AssertionError, ray.exceptions.RayError) as error:
        # Ray says no more than that it failed when a cluster that answers does not take the token
        why = f" ({_TOKEN})" if address != "local" and "Failed to connect" in str(error) else ""
        raise EosError(f"cannot reach Ray at '{address}': {first_line(error)}{why}") from None
    try:
        with _terminated_as_interrupted():
            yield
    finally:
        ray.shutdown()


@contextmanager
def _ignore_hangups() -> Iterator[None]:
    """Start Ray's processes so that a terminal that closes does not end them while the driver stops in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which they inherit, unlike a handler
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before or signal.SIG_DFL)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Answer SIGTERM, which ends containers and batch jobs, and SIGHUP of a closed terminal as Ctrl-C.

    Ray's own answer to the first is to abort. Who started with SIGHUP ignored (``nohup``) goes on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    answered = [signal.SIGTERM, signal.SIGHUP]
    before = {one: signal.getsignal(one) for one in answered}
    for one in answered:
        if one == signal.SIGTERM or before[one] != signal.SIG_IGN:
            signal.signal(one, interrupt)
    try:
        yield
    finally:
        for one, answer in before.items():
            signal.signal(one, answer or signal.SIG_DFL)


_TOKEN = (
    "if it is up, it does not take this machine's token: give the cluster's by RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or "
    "~/.ray/auth_token"
)


def _connected_to(address: str) -> None:
    """Refuse to take the cluster this process is connected to for the one at another address."""
    if address in ("local", "auto"):
        return
    reached = _reachable(address)
    here = ray.get_runtime_context().gcs_address
    if here not in (address, reached):
        raise EosError(
            f"--address {address}: this process is connected to Ray at {here}; "
            "leave the address out, or call ray.shutdown() first"
        )


def _reachable(address: str) -> str:
    """The address as IP:PORT once something answers there; Ray itself asks a silent one for a minute."""
    if address.startswith("ray://"):
        raise EosError(
            f"--address {address}: a study is driven from a node of the cluster, not through Ray Client; "
            "use --address auto there (a machine joins with: ray start --address HOST:6379 --num-cpus 0)"
        )
    if address == "auto":
        return address
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise EosError(f"--address {address}: expected local, auto or HOST:PORT, such as ray-head:6379")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS) as connection:
            return f"{connection.getpeername()[0]}:{port}"
    except (OSError, OverflowError) as error:
        raise EosError(f"cannot reach Ray at '{address}': {getattr(error, 'strerror', None) or error}") from None


def token_wanted() -> bool:
    """Whether nodes must keep Ray's token on; only a driver told otherwise in so many words goes without."""
    return os.environ.get("RAY_AUTH_MODE", "").lower() != "disabled"


def first_line(error: Exception) -> str:
    """The error's first line, without passwords."""
    return error_text(error)
