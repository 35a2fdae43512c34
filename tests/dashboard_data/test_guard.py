"""The dashboard lets in its own pages alone: hosts, origins, methods, paths, payloads; answers in one line."""

import copy
import json
import logging
import random

import pytest

pytest.importorskip("dash")

from eos_platform.dashboards.app import make_app
from eos_platform.dashboards.app.guard import CALLBACK, HEADERS, LARGEST
from eos_platform.dashboards.app.payload import KINDS

HERE = "http://localhost:8050"


@pytest.fixture(scope="module")
def application(store):
    from eos_platform.dashboard_data.studies import Studies

    return make_app(Studies(f"sqlite:///{store / 'mlflow.db'}"))


@pytest.fixture
def client(application):
    return application.server.test_client()


def get(client, path="/", host="localhost:8050", **headers):
    return client.get(path, headers={"Host": host, **headers})


@pytest.mark.parametrize("host", ["localhost", "localhost:8050", "LOCALHOST:1", "127.0.0.1:8050", "[::1]:8050"])
def test_this_machine_is_answered(client, host):
    assert get(client, host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:8050",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "",
            "a:b:c",
        ),
        *("user@localhost", "localhost/x", "localhost:port", "\x1b[31m", "[::1", "0.0.0.0:8050", "localhost,evil"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/_dash-layout", "/_dash-dependencies", "/assets/page.js", "/nowhere"])
def test_any_other_host_is_refused_everywhere(client, host, path):
    refused = get(client, path, host)
    assert refused.status_code == 400
    assert is_a_line(refused)


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        *((HERE, 204), (None, 204), ("http://evil.example", 403), ("null", 403), ("http://localhost:3000", 403)),
        *(("file://localhost:8050", 403), ("", 403), ("http://[", 403), ("x", 403)),
    ],
)
def test_origins(client, payloads, origin, code):
    headers = {"Host": "localhost:8050"} | ({} if origin is None else {"Origin": origin})
    answer = client.post(CALLBACK, json=payloads["tick"], headers=headers)
    assert answer.status_code == code
    assert code == 204 or is_a_line(answer)


def test_further_hosts_are_let_in_when_named(studies):
    server = make_app(studies, host="0.0.0.0", allowed=["Dash.example"]).server
    client = server.test_client()
    for host in ("dash.example", "192.168.1.7:8050", "[fe80::1]:8050", "localhost"):
        assert get(client, host=host).status_code == 200
    assert get(client, host="evil.example").status_code == 400
    assert get(client, host="10.0.0.1:8050", Origin="https://dash.example").status_code == 200
    assert get(client, host="10.0.0.1:8050", Origin="https://evil.example").status_code == 403


def is_a_line(answer):
    text = answer.get_data(as_text=True)
    return (
        answer.mimetype == "text/plain"
        and text.count("\n") == 1
        and text.strip("\n").isprintable()
        and len(text) < 500
        and "Traceback" not in text
        and all(answer.headers[name] == value for name, value in HEADERS.items())
    )


@pytest.mark.parametrize(
    ("method", "path", "codes"),
    [
        ("GET", "/etc/passwd", {404}),
        ("GET", "/nowhere", {404}),
        ("GET", "/assets/../../../../etc/passwd", {404}),
        ("GET", "/assets/%2e%2e/%2e%2e/make.py", {404}),
        ("GET", "/assets//etc/passwd", {404, 308}),
        ("GET", "/assets/nothing.js", {404}),
        ("GET", "/static/../make.py", {404}),
        ("GET", "/_dash-component-suites/os/path.py", {404}),
        ("GET", "/_dash-component-suites/dash/../../../etc/passwd", {404}),
        ("GET", "/_dash-component-suites/dash/dash.py", {404}),
        ("GET", "/_dash-component-suites/eos_platform/cli.py", {404}),
        ("GET", CALLBACK, {404, 405}),
        ("POST", "/", {405}),
        ("PUT", "/", {405}),
        ("DELETE", CALLBACK, {405}),
        ("PATCH", "/_dash-layout", {405}),
        ("TRACE", "/", {405}),
        ("PROPFIND", "/", {405}),
    ],
)
def test_other_paths_and_methods(client, method, path, codes):
    answer = client.open(path, method=method, headers={"Host": "localhost"})
    assert answer.status_code in codes
    assert answer.status_code == 308 or is_a_line(answer)


def test_bodies_that_are_too_large_or_no_json(client):
    headers = {"Host": "localhost"}
    huge = client.post(CALLBACK, data=b" " * (LARGEST + 1), content_type="application/json", headers=headers)
    assert huge.status_code == 413
    assert is_a_line(huge)
    for data in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"output": ' + b"9" * 5000 + b"}", b"null", b"[]", b'"x"'):
        answer = client.post(CALLBACK, data=data, content_type="application/json", headers=headers)
        assert answer.status_code == 400
        assert is_a_line(answer)
    assert client.post(CALLBACK, data="a=b", headers=headers).status_code == 400


def test_what_every_answer_carries(client):
    for path in ("/", "/_dash-layout", "/assets/page.js"):
        answer = get(client, path)
        answer.close()
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
        assert all(answer.headers[name] == value for name, value in HEADERS.items())


def callbacks(application):
    """Those that the server answers: name and what it is given."""
    application.server.test_client().get("/", headers={"Host": "localhost"})
    for name, callback in application.callback_map.items():
        if callback.get("callback") is not None:
            yield name, callback


def test_every_value_that_a_callback_takes_has_a_kind(application):
    for name, callback in callbacks(application):
        for one in (*callback["inputs"], *callback["state"]):
            assert f"{one['id']}.{one['property']}" in KINDS, name


GOOD = {
    "version.data": "",
    "url.search": "?study=small&view=front",
    "theme.data": "light",
    "front-on.value": "best",
    "front-families.value": ["searched", "hand-designed", "unreduced"],
    "front-regimes.options": ["merge"],
    "front-regimes.value": ["merge"],
    "front-designs.options": ["fastv"],
    "front-designs.value": [],
    "front-show.value": ["dominated", "confidence bars"],
    "front-budget.value": 0.5,
    "front-zoom.data": {"of": "small:best", "ranges": {"xaxis": [-1, 0.2]}},
    "front-graph.clickData": {"points": [{"curveNumber": 0, "id": "k", "x": 0.1}]},
    "front-graph.selectedData": {"points": [], "range": {"x": [0, 1]}},
    "compare-choice.value": [],
    "compare-choice.search_value": "tri",
    "table-find.value": "trial",
    "front-y.options": [{"value": "accuracy", "label": "accuracy"}],
    "front-x.value": "mean_tokens",
    "table-columns.value": ["family", "seed"],
    "table-page.value": 1,
    "tick.n_intervals": 1,
}


def payload(name, callback, view="front"):
    """What the page would send."""
    where = {"study": "" if view == "studies" else "small", "view": view, "run": "", "with": []}
    several = name.startswith("..")
    names = [one.rsplit(".", 1) for one in (name[2:-2].split("...") if several else [name])]
    outputs = [{"id": part[0], "property": part[-1]} for part in names]

    places = {"where.data": where, f"at-{view}.data": where}

    def filled(given):
        return [
            {**one, "value": {**GOOD, **places}.get(f"{one['id']}.{one['property']}")}
            for one in ({"id": one["id"], "property": one["property"]} for one in given)
        ]

    return {
        "output": name,
        "outputs": [] if callback.get("no_output") else outputs if several else outputs[0],
        "inputs": filled(callback["inputs"]),
        "state": filled(callback["state"]),
        "changedPropIds": [f"{callback['inputs'][0]['id']}.{callback['inputs'][0]['property']}"],
        "parsedChangedPropsIds": [],
    }


@pytest.fixture
def payloads(application):
    found = {callback["inputs"][0]["id"]: payload(name, callback) for name, callback in callbacks(application)}
    found["tick"]["state"][0]["value"] = None
    return found


def post(client, body):
    return client.post(CALLBACK, json=body, headers={"Host": "localhost:8050", "Origin": HERE})


@pytest.mark.parametrize("view", ["studies", "front", "compare", "health", "table"])
def test_what_the_page_sends_is_answered(application, client, view):
    for name, callback in callbacks(application):
        if name == "..operator-kept.children...operator-wait.disabled..":
            continue  # works a picture out
        answer = post(client, payload(name, callback, view))
        assert answer.status_code in (200, 204), (name, answer.get_data(as_text=True))


VALUES = [
    *(
        None,
        True,
        0,
        -1,
        1.5,
        1e308,
        10**30,
        "",
        "x",
        "\x1b[31m\u202e",
        "n" * 100_000,
        "<script>",
        [],
        {},
        [[]],
        [None],
    ),
    *({"study": "small"}, {"study": "none", "view": "front", "run": "", "with": []}, {"points": 5}, {"points": [5]}),
    *({"points": [{"id": {"$ne": 1}}]}, {"study": 5, "view": [], "run": {}, "with": 1}, ["x"] * 20_000),
    {"study": "small", "view": "front", "run": "", "with": ["a"] * 100},
    {"study": "", "view": "front", "run": "", "with": []},
    {"study": "small", "view": "operator", "run": "../../etc/passwd", "with": []},
    {"of": "small:best", "ranges": {"__class__": 1}},
    {"of": "small:best", "ranges": {"xaxis": ["a", "b"]}},
    {"of": "small:best", "ranges": {"xaxis": [1e400, 0]}},
]


def mangled(body, chance):
    """One payload with one or two things wrong (or only strange)."""
    body = copy.deepcopy(body)
    for _ in range(chance.choice((1, 1, 1, 2))):
        match chance.randrange(7):
            case 0:
                body[chance.choice(list(body))] = chance.choice(VALUES)
            case 1:
                body.pop(chance.choice(list(body)))
                body = body or {"output": 1}
            case _:
                lists = [body[key] for key in ("inputs", "state") if isinstance(body.get(key), list) and body[key]]
                if not lists:
                    continue
                one = chance.choice(chance.choice(lists))
                if isinstance(one, dict) and one:
                    one[chance.choice(["value"] * 6 + ["id", "property"])] = chance.choice(VALUES)
    return body


def test_mangled_payloads_are_refused_in_a_line_without_a_traceback(application, client, caplog, capfd):
    chance = random.Random(0)
    bodies = [
        payload(name, callback, view)
        for name, callback in callbacks(application)
        for view in ("front", "operator", "compare", "health", "table", "studies")
        if name != "..compare-kept.children...compare-wait.disabled.."  # works pictures out
    ]
    codes = []
    with caplog.at_level(logging.INFO):
        for _ in range(100):
            body = mangled(chance.choice(bodies), chance)
            try:
                data = json.dumps(body)
            except ValueError:
                continue
            headers = {"Host": "localhost"}
            answer = client.post(CALLBACK, data=data, content_type="application/json", headers=headers)
            codes.append(answer.status_code)
            assert answer.status_code in (200, 204, 400), (body, answer.get_data(as_text=True))
            assert answer.status_code < 400 or is_a_line(answer)
    assert codes.count(400) >= 50
    assert "Traceback" not in caplog.text + "".join(capfd.readouterr())


def test_a_failure_of_ours_is_a_line_too(application, client, payloads, monkeypatch, caplog):
    def broken(*args):
        raise RuntimeError("the disk\nis \x1b[31mgone")

    monkeypatch.setattr("eos_platform.dashboards.app.front.chosen", broken)
    body = next(
        payload(name, callback) for name, callback in callbacks(application) if name.startswith("..front-graph.figure")
    )
    answer = post(client, body)
    assert answer.status_code == 500
    assert is_a_line(answer)
    assert "Traceback" not in caplog.text
    monkeypatch.setenv("EOS_DEBUG", "1")
    post(client, body)
    assert "Traceback" in caplog.text
