"""Search states kept in a folder, or behind a URL: an S3 server and pyarrow's real client of it."""

import pytest
from pyarrow import fs

from eos_platform.common.errors import EosError
from eos_platform.engine.store import checkpoint_storage as storage
from eos_platform.engine.store.checkpoint_storage import Superseded, claim, claimed, forget, opened, under


@pytest.fixture(scope="module")
def bucket():
    """An S3 server on this machine, and the URL of a bucket in it."""
    server_of = pytest.importorskip("moto.server").ThreadedMotoServer
    server = server_of(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "someone")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server.start()
        host, port = server.get_host_and_port()
        there = fs.S3FileSystem(endpoint_override=f"{host}:{port}", scheme="http", allow_bucket_creation=True)
        there.create_dir("runs")
        yield f"s3://runs/tiny?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
        server.stop()


@pytest.fixture(params=["folder", "url", "s3"])
def place(request, tmp_path):
    if request.param == "s3":
        return under(request.getfixturevalue("bucket"), request.node.name.replace("[", "-").strip("]"))
    return (tmp_path / "states").as_uri() if request.param == "url" else str(tmp_path / "states")


def test_another_node_finds_the_state(place):
    with opened(place) as first:
        (first.folder / "search.safetensors").write_bytes(b"half")
        first.keep()
        (first.folder / "search.safetensors").write_bytes(b"whole")
        first.keep()
    with opened(place) as second:
        assert (second.folder / "search.safetensors").read_bytes() == b"whole"
        second.keep()


def test_a_search_taken_over_stops_and_writes_no_more(place):
    with opened(place) as cut_off:
        (cut_off.folder / "search.safetensors").write_bytes(b"old")
        cut_off.keep()
        with opened(place) as other:
            (other.folder / "search.safetensors").write_bytes(b"newer")
            other.keep()
            if storage.is_url(place):
                (cut_off.folder / "search.safetensors").write_bytes(b"old again")
            with pytest.raises(Superseded, match="another worker"):
                cut_off.keep()
    with opened(place) as third:
        assert (third.folder / "search.safetensors").read_bytes() == b"newer"


def test_forgotten_is_gone(place):
    with opened(place) as state:
        (state.folder / "search.safetensors").write_bytes(b"x")
        state.keep()
        storage.forget(place)
        (state.folder if storage.is_url(place) else state.folder.parent).mkdir(exist_ok=True)
        with pytest.raises(Superseded):
            state.hold()
    there, path = storage.filesystem(place)
    assert there.get_file_info(path).type == fs.FileType.NotFound
    storage.forget(place)


def test_a_url_keeps_its_query_at_its_end():
    assert under("s3://runs/a?region=x", "trial-3") == "s3://runs/a/trial-3?region=x"
    assert under("s3://runs/a/", "trial-3") == "s3://runs/a/trial-3"
    assert under("/runs/a", "trial-3") == "/runs/a/trial-3"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("s4://runs", "unknown scheme 's4'; known: abfs"),
        ("s3://someone:hush@runs", "no name or password"),
        ("s3://runs?secret_key=hush", "no name or password"),
    ],
)
def test_what_is_no_storage(place, says):
    with pytest.raises(EosError, match=r"stores\.storage") as error:
        storage.check(place)
    assert says in str(error.value)
    assert "hush" not in str(error.value)


def test_one_study_claims_a_place(place):
    assert claimed(place) is None
    for _ in range(2):  # and again, when it is resumed
        claim(place, "one")
    assert claimed(place) == "one"
    with pytest.raises(EosError, match="in use by another study of this name"):
        claim(place, "two")
    forget(place)
    claim(place, "two")
