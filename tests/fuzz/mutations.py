"""Ways to spoil a file: by its structure (JSON, YAML), by its bytes, or by putting something else in its place."""

from __future__ import annotations

import copy
import json
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

# wrong wherever a valid file has a number, a word, a list or a mapping; of another type each
ALIENS: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    -1e308,
    1e308,
    10**12,
    10**30,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\x1b[31mred\x07",
    "\u202eright to left\u2066",
    "\ud800",
    "a" * 5000,
    "0",
    "../../etc/passwd",
    [],
    [[]],
    ["x", 1, None],
    [1] * 3000,
    {},
    {"": None},
    {"x": {"y": [1, 2]}},
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of every value in it, long lists by their first entries."""
    found = [path]
    if len(path) > 8:
        return found
    if isinstance(data, dict):
        for key, value in data.items():
            found += places(value, (*path, key))
    elif isinstance(data, list):
        for number, value in enumerate(data[:4]):
            found += places(value, (*path, number))
    return found


def _parent(data: Any, path: tuple[Any, ...]) -> Any:
    for part in path[:-1]:
        data = data[part]
    return data


def structure(rng: random.Random, data: Any, times: int = 1) -> tuple[Any, str, Any]:
    """A copy with a value replaced, dropped, added, repeated or nested; what was done; the key where."""
    data, text, key = copy.deepcopy(data), "", ""
    for _ in range(times):
        paths = [path for path in places(data) if path]
        if not paths:
            break
        path = rng.choice(paths)
        holder, key = _parent(data, path), path[-1]
        how = rng.choice(("replace", "replace", "replace", "drop", "add", "wrap", "deep"))
        if how == "replace":
            holder[key] = copy.deepcopy(rng.choice(ALIENS))
        elif how == "drop":
            del holder[key]
        elif how == "add" and isinstance(holder, dict):
            holder[rng.choice(("nonsense", "", "\x1b[2J", "x" * 3000, "__class__"))] = rng.choice(ALIENS)
        elif how == "wrap":
            holder[key] = [holder[key]]
        else:
            holder[key] = nested(rng.choice((60, 3000)))
        text += f"{how} {'.'.join(map(str, path))[:60]} "
    return data, text.strip(), key


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def to_json(data: Any) -> str:
    """JSON of what Python's own writer would refuse, too: numbers of thousands of digits, deep lists."""
    if isinstance(data, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{to_json(value)}" for key, value in data.items()) + "}"
    if isinstance(data, list):
        depth = 0
        while isinstance(data, list) and len(data) == 1:
            data, depth = data[0], depth + 1
        inner = ",".join(map(to_json, data)) if isinstance(data, list) else None
        return "[" * depth + (f"[{inner}]" if inner is not None else to_json(data)) + "]" * depth
    if isinstance(data, int) and not isinstance(data, bool) and abs(data) >= 10**300:
        return "9" * 5000
    return json.dumps(data)


def text(rng: random.Random, given: bytes) -> tuple[bytes, str]:
    """Bytes of a text file, spoilt."""
    middle = rng.randrange(1, max(2, len(given)))
    ways: dict[str, Callable[[], bytes]] = {
        "truncated": lambda: given[:middle],
        "empty": lambda: b"",
        "white": lambda: b" \n\t\n",
        "bits flipped": lambda: flipped(rng, given),
        "NUL inside": lambda: given[:middle] + b"\0" + given[middle:],
        "UTF-16": lambda: given.decode(errors="replace").encode("utf-16"),
        "Latin-1": lambda: given[:middle] + "é".encode("latin-1") + given[middle:],
        "random bytes": lambda: rng.randbytes(600),
        "twice": lambda: given + given,
        "a number": lambda: b"42",
        "a list": lambda: b"[]",
        "a word": lambda: b'"word"',
        "null": lambda: b"null",
        "endless nesting": lambda: b"[" * 100_000,
        "endless objects": lambda: b'{"a":' * 50_000,
        "a long line": lambda: b'{"' + b"a" * 300_000 + b'": 1}',
        "many digits": lambda: b"9" * 10_000,
        "a web page": lambda: b"<!DOCTYPE html><html><body>404</body></html>",
        "a pickle": lambda: b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94.",
        "an archive": lambda: b"PK\x03\x04" + rng.randbytes(200),
        "controls": lambda: b"\x1b]0;title\x07\x1b[2J" + given,
    }
    name = rng.choice(sorted(ways))
    return ways[name](), name


def flipped(rng: random.Random, given: bytes, count: int = 8) -> bytes:
    """Some bits turned over."""
    data = bytearray(given or b"\0")
    for _ in range(count):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def special(rng: random.Random, path: Path) -> str:
    """Put no regular file at ``path``; what it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        return "left alone"
    path.unlink(missing_ok=True)
    how = rng.choice(("fifo", "zero", "urandom", "socket", "folder", "sparse", "dangling", "loop", "unreadable", "tty"))
    if how == "fifo":
        os.mkfifo(path)
    elif how in ("zero", "urandom", "tty"):
        path.symlink_to(f"/dev/{how}")
    elif how == "socket":
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket has at most 107 characters
        try:
            with socket.socket(socket.AF_UNIX) as ear:
                ear.bind(path.name)
        finally:
            os.chdir(here)
    elif how == "folder":
        path.mkdir()
    elif how == "sparse":
        with path.open("wb") as stream:
            stream.truncate(1 << 40)
    elif how == "dangling":
        path.symlink_to("nowhere")
    elif how == "loop":
        path.symlink_to(path.name)
    else:
        path.symlink_to("/proc/self/mem")
    return how
