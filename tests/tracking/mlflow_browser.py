"""A real MLflow server and a real Chromium, driven over the browser's own pipe: nothing to install.

The DevTools protocol is JSON messages with a NUL behind each, on the file descriptors 3 and 4 of the browser
(``--remote-debugging-pipe``).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-pipe"
)


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, profile: Path, width: int = 1500, height: int = 1000) -> None:
        read, self._to = os.pipe()
        self._back, write = os.pipe()
        # well above 3 and 4, so that neither is overwritten before it is copied there
        to_read, to_write = (fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (read, write))
        command = [
            *(str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={profile}", f"--window-size={width},{height}"),
            # nothing but this machine can be reached
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        ]
        # the shell puts the pipes where Chromium looks for them
        script = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", script, "chromium", *command],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (read, write, to_read, to_write):
            os.close(end)
        self._buffer, self._count, self._session = b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            self._session = None
            self.call("Browser.close")
        os.close(self._to)
        os.close(self._back)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    def call(self, method: str, patience: float = 60, **params: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer; events in between are dropped."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + patience
        while True:
            answer = self._next(end)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._back], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            chunk = os.read(self._back, 1 << 20)
            if not chunk:
                raise RuntimeError("the browser ended")
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(line))

    def open(self, url: str) -> None:
        """Go to an address, from scratch: within a page only its fragment would change."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)

    def js(self, expression: str) -> Any:
        """What the page makes of an expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"].get("exception", {}).get("description")))
        return found["result"].get("value")

    def wait(self, condition: str, patience: float = 120) -> float:
        """Until an expression is true: how many seconds that took."""
        begin = time.monotonic()
        while time.monotonic() - begin < patience:
            with contextlib.suppress(RuntimeError):
                if self.js(f"Boolean({condition})"):
                    return time.monotonic() - begin
            time.sleep(0.05)
        raise TimeoutError(f"the page never had: {condition}\nit says: {self.text()[:3000]}")

    def text(self) -> str:
        """The words on the page."""
        return str(self.js("document.body ? document.body.innerText : ''"))

    def click(self, x: float, y: float) -> None:
        """Press and release the mouse there."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def key(self, name: str, code: int) -> None:
        """Press one key, such as ("Enter", 13)."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if name == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **text)

    def shot(self, path: Path) -> Path:
        """A picture of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path


@contextlib.contextmanager
def browser(profile: Path, **size: int) -> Iterator[Browser]:
    """A browser for a while."""
    page = Browser(profile, **size)
    try:
        yield page
    finally:
        page.close()


@contextlib.contextmanager
def mlflow_server(store: str, folder: Path, artifacts: str | None = None) -> Iterator[str]:
    """``mlflow server`` on a free port of this machine, as small as it goes: its address.

    Args:
        artifacts: where the server keeps artifacts it serves itself.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--artifacts-destination", artifacts] if artifacts else []
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.txt").open("w") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=2):
                break
            if server.poll() is not None:
                raise RuntimeError((folder / "server.txt").read_text())
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
