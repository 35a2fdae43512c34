"""What is let in: requests from this page alone, with payloads that a page sends; and what every answer carries.

A browser sends anybody's page here: one that gave its own name the address 127.0.0.1 (DNS rebinding), or one that
posts to it blindly. So the Host must be one under which this machine is meant, and an Origin the page's own. What is
refused, or fails, is said in one line of plain text; ``EOS_DEBUG=1`` prints tracebacks of failures.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import dash
import flask
from werkzeug.exceptions import HTTPException

from eos_platform.common import strict_json
from eos_platform.common.printable import printable
from eos_platform.dashboards.app.payload import Refused, check

LARGEST = 16 * 2**20  # bytes of a request: a lasso around thousands of points needs a few million
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
EVERYWHERE = ("0.0.0.0", "::", "")
CALLBACK = "/_dash-update-component"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
log = logging.getLogger(__name__)


def protect(app: dash.Dash, studies: Any, host: str = "127.0.0.1", allowed: Iterable[str] = ()) -> None:
    """Put the checks before every request, and the headers on every answer.

    Args:
        studies: as for ``make_app``.
        host: the address the server is bound to.
        allowed: further host names it may be asked under, such as a proxy's.
    """
    server: flask.Flask = app.server
    server.config["MAX_CONTENT_LENGTH"] = LARGEST
    given = frozenset(name.strip().lower().strip("[]") for name in allowed)
    names = LOOPBACK | given | ({host} if host not in EVERYWHERE else {socket.gethostname(), socket.getfqdn()})
    names = frozenset(name.lower() for name in names)

    def known(name: str | None) -> bool:
        """Whether this server is meant by a name; numbers cannot be rebound, so all of them when bound to all."""
        return name is not None and (name in names or (host in EVERYWHERE and _is_address(name)))

    # before Dash's own, which make of the first request what the page is like
    @server.before_request
    def _let_in() -> None:
        request = flask.request
        if not known(_name(f"//{request.headers.get('Host', '')}")):
            flask.abort(400, f"this dashboard is not at '{printable(request.headers.get('Host', ''), 60)}'; {HINT}")
        origin = request.headers.get("Origin")
        if origin is not None:
            own = {f"{scheme}://{request.headers['Host']}".lower() for scheme in ("http", "https")}
            if origin.lower() not in own and not (
                origin.startswith(("http://", "https://")) and _name(origin) in given
            ):
                flask.abort(403, f"requests from '{printable(origin, 60)}' are not answered; {HINT}")
        if request.url_rule is not None and request.url_rule.rule == "/<path:path>":
            flask.abort(404, "no such page")
        if request.path == CALLBACK and request.method == "POST":
            try:
                check(app, studies, strict_json.loads(request.get_data(cache=True).decode()))
            except ValueError as error:
                reason = str(error) if isinstance(error, Refused) else "not JSON"
                flask.abort(400, f"not a callback of this page: {reason}")
            if not request.is_json:
                flask.abort(415, "a callback is application/json")

    server.before_request_funcs[None].insert(0, server.before_request_funcs[None].pop())

    @server.after_request
    def _carry(response: flask.Response) -> flask.Response:
        for name, value in {**HEADERS, "Content-Security-Policy": _policy(app)}.items():
            response.headers.setdefault(name, value)
        return response

    @server.errorhandler(HTTPException)
    def _refused(error: HTTPException) -> Any:
        if error.code is None or error.code < 400:
            return error
        return _line(error.description or error.name, error.code)

    @server.errorhandler(Exception)
    def _failed(error: Exception) -> Any:
        text = f"{type(error).__name__}: {printable(error, 300)}"
        log.error("%s: %s", printable(flask.request.path, 60), text, exc_info=bool(os.environ.get("EOS_DEBUG")))
        return _line(text, 404 if "_dash-component-suites" in flask.request.path else 500)


HINT = "eos dashboard --allowed-hosts NAME lets it in"


def _line(text: str, code: int) -> flask.Response:
    return flask.Response(printable(text, 400) + "\n", code, content_type="text/plain; charset=utf-8")


def _name(url: str) -> str | None:
    """The host of a URL in small letters, without port; None: no valid one."""
    try:
        split = urlsplit(url)
        _ = split.port
    except ValueError:
        return None
    return None if split.username is not None or split.path else split.hostname


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _policy(app: dash.Dash) -> str:
    """Nothing from elsewhere, no frame around it; plotly compiles functions, and styles elements."""
    scripts = " ".join(["'self'", "'unsafe-eval'", *app.csp_hashes()])
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
