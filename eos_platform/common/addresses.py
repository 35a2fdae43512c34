"""Addresses of stores: made from paths, read by a parser, and shown without what opens them.

What may be shown of an address is listed here: its scheme, host, port and path (or database), and parameters known to
be harmless. All else is masked. Secrets of addresses in use are remembered, so that a library's message that quotes one
of them in another form is masked, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
LOCAL = ("sqlite", "file", "models", "runs", "mlflow-artifacts")  # no host, and an @ is part of a name
# parameters whose values say how a store is reached, not who may
HARMLESS = frozenset(
    """
    allow_bucket_creation allow_bucket_deletion application_name background_writes cache channel_binding charset
    check_same_thread client_encoding connect_timeout driver enable_tls encrypt endpoint_override gssencmode
    immutable keepalives mode nolock read_timeout region replication retry_limit_seconds scheme sslmode
    target_session_attrs timeout trustservercertificate uri vfs write_timeout
    """.split()  # noqa: SIM905
)
PLACES = {"server", "database", "host", "port", "dbname", "user", "uid"}  # in a driver's connection string
_PLAIN = re.compile(r"[\w.:/+ -]{0,100}")  # a value that can be shown
_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:){0,2}?([A-Za-z][A-Za-z0-9+.-]*):/+")
_HOST = re.compile(r"(?:[\w.%-]*|\[[0-9A-Fa-f:.]+\])(?::(\d*))?")
_SAID = re.compile(r"(?<![\w-])([\w-]+)=([^&;\s'\"<>]+)")  # name=value, in whatever text
_CALLED = re.compile("pass(w(or)?d|phrase|file)?|pwd|secret|token|credential|signature|sas|key", re.IGNORECASE)
_MISSPELT = re.compile(r"(?<![\w.+-])[\w.+-]+:[^\s/:@]+@(?=[\w.-])")  # name:password@host, where a slash was forgotten
_BEGIN = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{0,30}://")  # of an address in a text
_END = re.compile(r"[^\s'\"<>]*")
ENVIRONMENT = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "PGPASSWORD",
    "RAY_AUTH_TOKEN",
)
SHORTEST = 3  # of a secret that is looked for in texts: shorter ones would mask every other word
_secrets: dict[str, None] = {}
_known: dict[str, None] = {}  # addresses


def of_sqlite(path: Path) -> str:
    """The address of an SQLite file, for SQLAlchemy, Optuna and MLflow: what its path has in it is escaped."""
    escaped = re.sub("[%?#{}]", lambda match: quote(match[0]), str(path))
    # MLflow makes the folder of a plain sqlite:/// itself, and does not undo the escapes
    return f"sqlite{'' if escaped == str(path) else '+pysqlite'}:///{escaped}"


def sqlite_path(address: str) -> Path | None:
    """The file of an SQLite address; None: it is another store, or kept in memory."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    if not address.startswith("sqlite"):
        return None
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        return None
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database)


def in_memory(address: str) -> bool:
    """Whether ``address`` is an SQLite store that ends with the process."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        return False
    kept = url.database and not url.database.startswith((":memory:", "file::memory:"))
    kept = kept and url.query.get("mode") != "memory"
    return url.get_backend_name() == "sqlite" and not kept


def remember(address: str | None) -> None:
    """Mask the secrets of ``address`` in everything shown from now on."""
    if address and address not in _known and secret(address):
        _known[address] = None
        _secrets.update(dict.fromkeys(_secrets_of(address)))


def secret(address: str) -> bool:
    """Whether ``address`` holds anything that may not be shown."""
    return masked(address) != address


@lru_cache(maxsize=256)
def masked(address: str) -> str:
    """``address`` with all masked that is not known to be harmless; a path is shown as it is."""
    match = _SCHEME.match(address)
    if match is None:  # a path, or a slip
        user, at, rest = address.rpartition("@")
        return MASK + at + rest if ":" in user and not re.match(r"(\.{0,2}|~)/(?!/)", address) else address
    rest = address[match.end() :]
    slashes = match[0].count("/")
    if match[1].partition("+")[0].lower() in LOCAL and (slashes != 2 or "@" not in rest.partition("/")[0]):
        path, mark, query = rest.partition("?")
        return match[0] + path + (mark + _query(query) if mark else "")
    user, at, rest = rest.rpartition("@")
    rest, hash_, fragment = rest.partition("#")
    rest, mark, query = rest.partition("?")
    host, slash, path = rest.partition("/")
    return "".join(
        (
            match[0],
            MASK + at if at else "",
            ",".join(map(_host, host.split(","))),
            slash + _path(path),
            mark + _query(query) if mark else "",
            hash_ + (fragment if re.fullmatch(r"(/[\w.-]*)*", fragment) else MASK) if hash_ else "",
        )
    )


def _host(text: str) -> str:
    if _HOST.fullmatch(text):
        return text
    name = text.partition(":")[0]
    return f"{name}:{MASK}" if _HOST.fullmatch(name) and name else MASK


def _path(text: str) -> str:
    """A path without parameters (``;name=value``), and without what is called a secret."""
    path, mark, _ = text.partition(";")
    if _tells(unquote(path)):
        return MASK
    return path + (mark + MASK if mark else "")


def _tells(text: str) -> bool:
    """Whether something in ``text`` is given and called a secret."""
    return any(_CALLED.search(match[1]) for match in _SAID.finditer(text))


def _query(text: str) -> str:
    parts = []
    for part in re.split("[&;]", text):
        name, sign, value = part.partition("=")
        known = name.lower() in HARMLESS and sign and _PLAIN.fullmatch(unquote(value))
        fine = known and not _tells(unquote(value)) and "://" not in unquote(value)
        parts.append(part if fine or not part else f"{name}={MASK}" if name.lower() in HARMLESS else MASK)
    return "&".join(parts)


def _secrets_of(address: str) -> Iterator[str]:
    """What would open the store, in the forms that it may be quoted in."""
    match = _SCHEME.match(address)
    rest = address[match.end() :] if match else address
    user, at, rest = rest.rpartition("@")
    rest, _, query = rest.partition("?")
    if at:
        name, _, password = user.partition(":")
        yield from _forms(password)
        if not password or len(name) >= 16:  # a token in the name's place
            yield from _forms(name)
    for host in rest.partition("/")[0].split(","):
        if not _HOST.fullmatch(host):  # name:password, where the host was forgotten
            yield from _forms(host.partition(":")[2])
    for pair in _SAID.finditer(unquote(rest.partition("/")[2])):
        if _CALLED.search(pair[1]):
            yield from _forms(pair[2])
    query = "&".join((query, *re.split("[;#]", rest)[1:]))
    for part in re.split("[&;#]", query):
        name, _, value = part.partition("=")
        if part != _query(part):
            yield from _forms(value or ("" if _CALLED.fullmatch(name) else name))
            for inner in re.split("[;&\\s]", unquote_plus(value)):  # a driver's own connection string
                key, _, given = inner.partition("=")
                if key.strip().lower() not in {
                    *HARMLESS,
                    "server",
                    "database",
                    "host",
                    "port",
                    "dbname",
                    "user",
                    "uid",
                }:
                    yield from _forms(given.strip("{}"))


def _forms(text: str) -> Iterator[str]:
    plain = unquote(text)
    for form in (text, plain, unquote_plus(text), quote(plain, safe=""), quote_plus(plain)):
        if len(form) >= SHORTEST:
            yield form


def mask(text: str) -> str:
    """``text`` without the secrets of the addresses in it, and of those in use."""
    for name in ("EOS_STORES_OPTUNA", "EOS_STORES_MLFLOW", "EOS_STORES_STORAGE", "MLFLOW_TRACKING_URI"):
        remember(os.environ.get(name))
    for address in sorted(_known, key=len, reverse=True):
        text = text.replace(address, masked(address))
    if "://" in text:
        text = "".join(_pieces(text))
    known = {*_secrets, *(value for name in ENVIRONMENT if len(value := os.environ.get(name, "")) >= SHORTEST)}
    for word in sorted(known, key=len, reverse=True):
        if word in text:
            text = re.sub(rf"(?:(?<!\w)|(?<=%[0-9A-Fa-f]{{2}})){re.escape(word)}(?!\w)", MASK, text)
    return text


def _pieces(text: str) -> Iterator[str]:
    """``text`` in pieces, its addresses as they may be shown."""
    at = 0
    for begin in _BEGIN.finditer(text):
        if begin.start() < at:
            continue
        yield text[at : begin.start()]
        at = _end(text, begin.end())
        word = text[begin.start() : at]
        hosts = re.split("[/?#]", word[len(begin[0]) :])[0].rstrip(".,;:!)]}")
        if "@" not in word and not all(map(_HOST.fullmatch, hosts.split(","))) and not begin[0].startswith(LOCAL):
            # a password may hold anything, white space too: it ends at the last @ before the next address or line
            next_one = _BEGIN.search(text, at)
            until = min(next_one.start() if next_one else len(text), text.find("\n", at) % (len(text) + 1))
            last = text.rfind("@", at, until)
            at = _end(text, last) if last >= 0 else at
            word = text[begin.start() : at]
        whole = word.rstrip(".,;:!)]}")
        yield masked(whole) + word[len(whole) :]
    yield text[at:]


def _end(text: str, at: int) -> int:
    match = _END.match(text, at)
    return match.end() if match else at


def redact(text: str) -> str:
    """``mask``, for words that others chose: what is called a password, key or token goes, too, wherever it stands."""
    text = _MISSPELT.sub(f"{MASK}@", mask(text))
    return _SAID.sub(lambda match: f"{match[1]}={MASK}" if _CALLED.search(match[1]) else match[0], text)
