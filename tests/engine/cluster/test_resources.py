"""Shares of the machines: how many searches at once, what each gets, and which nodes may run them."""

import math
import signal
import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest
import ray
from engine_fakes import study_file

from eos_platform.common.errors import EosError
from eos_platform.engine.cluster import ray_session as session
from eos_platform.engine.cluster.preflight import Node, NodeWatch, examine, problems_of, refuse_unfit
from eos_platform.engine.cluster.ray_session import ray_session
from eos_platform.engine.cluster.resources import matches_labels, outcome, share
from eos_platform.engine.store.run_dir import run_dir_of

HERE = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0", "package": "0.1.0", "code": "abc", "token": "yes"}
SOUND = {**HERE, "storage": "shared"}


@pytest.mark.parametrize(
    ("concurrent", "resources", "has", "cpu", "gpu", "at_once"),
    [
        (2, {}, {"CPU": 2.0}, 1, 0, 2),
        (8, {}, {"CPU": 2.0}, 1, 0, 2),
        (3, {"cpu": 0.5}, {"CPU": 2.0}, 0.5, 0, 3),
        (4, {"cpu": 2}, {"CPU": 4.0}, 2, 0, 2),
        (4, {}, {"CPU": 16.0, "GPU": 1.0}, 1, 0.25, 4),
        (3, {}, {"CPU": 16.0, "GPU": 1.0}, 1, 0.3333, 3),
        (12, {}, {"CPU": 64.0, "GPU": 8.0}, 1, 0.5, 12),
        (2, {}, {"CPU": 64.0, "GPU": 8.0}, 1, 1, 2),
        (8, {"gpu": 0.5}, {"CPU": 16.0, "GPU": 2.0}, 1, 0.5, 4),
        (8, {"gpu": 2}, {"CPU": 16.0, "GPU": 5.0}, 1, 2, 2),
        (8, {"gpu": 0}, {"CPU": 16.0, "GPU": 2.0}, 1, 0, 8),
    ],
)
def test_share(concurrent, resources, has, cpu, gpu, at_once):
    part = share(study_file(concurrent=concurrent, resources=resources), has)
    assert (part.cpu, part.gpu, part.concurrent) == (cpu, pytest.approx(gpu), at_once)
    assert part.gpu * part.concurrent <= has.get("GPU", 0) + 1e-9
    assert part.cpu * part.concurrent <= has["CPU"]


def test_threads_follow_the_cores():
    assert share(study_file(resources={"cpu": 4}), {"CPU": 8.0}).threads == 4
    assert share(study_file(resources={"cpu": 0.5}), {"CPU": 8.0}).threads == 1


def test_what_does_not_fit_is_said():
    with pytest.raises(EosError, match=r"resources\.cpu: a search wants 4 cores, there are 2"):
        share(study_file(resources={"cpu": 4}), {"CPU": 2.0})
    with pytest.raises(EosError, match=r"resources\.gpu: a search wants 1 GPUs, there are 0"):
        share(study_file(resources={"gpu": 1}), {"CPU": 2.0})


GIB = 2**30


@pytest.mark.parametrize(
    ("resources", "nodes", "fits"),
    [
        ({"cpu": 2}, [{"CPU": 3.0}, {"CPU": 3.0}], 2),  # a third would need a core of each
        ({"cpu": 1}, [{"CPU": 0.0}, {"CPU": 2.0}], 2),
        ({"memory": "4GiB"}, [{"CPU": 8.0, "memory": 10.0 * GIB}, {"CPU": 8.0, "memory": 3.0 * GIB}], 2),
        ({"gpu": 0.4}, [{"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 1.0}], 4),
        ({"gpu": 1}, [{"CPU": 1.0, "GPU": 4.0}, {"CPU": 8.0, "GPU": 2.0}], 3),
    ],
)
def test_searches_fit_node_by_node(resources, nodes, fits):
    assert share(study_file(concurrent=9, resources=resources), nodes).concurrent == fits


def test_on_a_cluster_nodes_may_join():
    part = share(study_file(concurrent=9), [{"CPU": 2.0}], elastic=True)
    assert (part.concurrent, part.fits) == (9, 2)


def test_a_relative_storage_is_meant_from_where_the_driver_stands(ray_local, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = examine("states", token=False)
    assert [wrong for node in found for wrong in node.wrong] == []


def test_what_no_single_node_has_is_said():
    with pytest.raises(EosError, match=r"resources\.cpu: a search wants 4 cores, no node has more than 3"):
        share(study_file(resources={"cpu": 4}), [{"CPU": 3.0}, {"CPU": 2.0}])
    with pytest.raises(EosError, match="every node lacks something"):
        share(study_file(resources={"cpu": 4, "gpu": 1}), [{"CPU": 8.0}, {"CPU": 2.0, "GPU": 1.0}])
    with pytest.raises(EosError, match=r"resources\.labels: no node has zone=north"):
        share(study_file(resources={"labels": {"zone": "north"}}), [])


def test_being_told_to_end_is_answered_as_ctrl_c():
    before, kept, received = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), []
    for ctrl_c in (signal.default_int_handler, signal.SIG_IGN):  # a shell's background jobs ignore it
        signal.signal(signal.SIGINT, ctrl_c)
        with pytest.raises(KeyboardInterrupt), session._terminated_as_interrupted():
            signal.raise_signal(signal.SIGTERM)
    signal.signal(signal.SIGINT, lambda number, frame: received.append(number))  # as Tune does
    with session._terminated_as_interrupted():
        signal.raise_signal(signal.SIGTERM)
    signal.signal(signal.SIGINT, before)
    assert received == [signal.SIGINT]
    assert signal.getsignal(signal.SIGTERM) == kept


@pytest.mark.parametrize(
    ("resources", "says"),
    [
        ({"cpu": 0.00001}, r"resources: The precision of the fractional quantity of resource num_cpus"),
        ({"labels": {"a zone": "!north"}}, r"resources: Invalid label key name `a zone`"),
    ],
)
def test_what_ray_has_no_words_for_is_said_before_it_is_asked(resources, says):
    with pytest.raises(EosError, match=says):
        share(study_file(resources=resources), [{"CPU": 2.0}])


def test_a_task_that_ends_without_a_word_is_one_line(monkeypatch):
    def get(reference):
        raise ray.exceptions.OutOfMemoryError("Task was killed\ndue to the node running low on memory.")

    monkeypatch.setattr(ray, "get", get)
    with pytest.raises(EosError, match=r"a worker process died: Task was killed$"):
        outcome(None)


def test_memory_and_labels_reach_ray():
    part = share(study_file(resources={"memory": "500MB", "labels": {"zone": "north"}}), [{"CPU": 2.0, "memory": 1e9}])
    assert part.options == {"num_cpus": 1, "num_gpus": 0, "memory": 500_000_000, "label_selector": {"zone": "north"}}
    (bundle,) = part.request.bundles
    assert bundle == {"CPU": 1, "memory": 5e8}


@pytest.mark.parametrize(
    ("selector", "fits"),
    [("H100", True), ("A100", False), ("!A100", True), ("in(A100, H100)", True), ("!in(A100, H100)", False)],
)
def test_labels_are_read_as_ray_reads_them(selector, fits):
    assert matches_labels({"ray.io/accelerator-type": "H100"}, {"ray.io/accelerator-type": selector}) is fits


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"code": None}, "lacks eos-platform"),
        ({"code": "xyz"}, "other code under the same version"),
        ({"code": "xyz", "package": "0.0.9"}, "has eos-platform 0.0.9, the driver has 0.1.0"),
        ({"torch": "2.9.1"}, "has torch 2.9.1, the driver has 2.13.0"),
        ({"torch": None}, "lacks torch"),
        ({"python": "3.11.9"}, "has Python 3.11.9"),
        ({"ray": "2.59.0"}, "has ray 2.59.0"),
        ({"storage": "what the driver wrote is not there"}, "does not share the storage /runs"),
        ({"token": "no"}, "without Ray's token"),
    ],
)
def test_what_is_wrong_with_a_node(told, says):
    found = {name: value for name, value in {**SOUND, **told}.items() if value is not None}
    (wrong,) = problems_of(Node("1", "10.0.0.2", facts=found), HERE, "/runs")
    assert says in wrong
    with pytest.raises(EosError, match=r"node 10\.0\.0\.2 "):
        refuse_unfit([Node("1", "10.0.0.2", wrong=(wrong,))])


def test_a_sound_node_passes_and_so_does_one_the_code_was_sent_to():
    assert problems_of(Node("1", "10.0.0.2", facts=SOUND), HERE, "/runs") == ()
    assert problems_of(Node("1", "10.0.0.2", facts={**SOUND, "package": "of no known version"}), HERE, "/runs") == ()


def test_a_model_folder_must_be_on_every_node():
    here = {**HERE, "model": "abc"}
    for has, says in (("missing", "has no model"), ("xyz", "has another model")):
        (wrong,) = problems_of(Node("1", "10.0.0.2", facts={**SOUND, "model": has}), here)
        assert says in wrong


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("ray://head:10001", "not through Ray Client"),
        ("head", "expected local, auto or HOST:PORT"),
        ("127.0.0.1:1", "cannot reach Ray at '127.0.0.1:1': Connection refused"),
        ("no.such.host.invalid:6379", "cannot reach Ray"),
    ],
)
def test_no_cluster_there(monkeypatch, address, says):
    monkeypatch.setattr(session.ray, "is_initialized", lambda: False)
    with pytest.raises(EosError) as error, ray_session(address):
        pass
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1:1", "cannot reach Ray at '127.0.0.1:1': Connection refused"),
        ("ray://head:10001", "not through Ray Client"),
        ("127.0.0.1:{port}", "this process is connected to Ray at 192.0.2.7:6379"),
    ],
)
def test_another_cluster_than_the_connected_one(monkeypatch, address, says):
    monkeypatch.setattr(session.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(session.ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="192.0.2.7:6379"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = address.format(port=server.getsockname()[1])
        with pytest.raises(EosError) as error, ray_session(asked):
            pass
    assert says in str(error.value)


@pytest.mark.parametrize("address", ["local", "auto", "127.0.0.1:{port}", "localhost:{port}"])
def test_the_connected_cluster_is_used(monkeypatch, address):
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(session.ray, "is_initialized", lambda: True)
        monkeypatch.setattr(session.ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address=here))
        with ray_session(address.format(port=here.rpartition(":")[2])):
            pass


@pytest.mark.parametrize(
    ("written", "read"), [("4GiB", 4 * GIB), ("1.5 GB", 1_500_000_000), (1000, 1000), ("64KiB", 65536)]
)
def test_memory_is_written_as_people_write_it(written, read):
    assert study_file(resources={"memory": written}).resources.memory == read


@pytest.mark.parametrize("written", ["lots", "4", "-1GB", 0, "1.2.3GB"])
def test_what_is_no_memory(written):
    with pytest.raises(EosError, match=r"resources\.memory"):
        study_file(resources={"memory": written})


def test_stores_come_from_the_environment_when_the_study_file_names_none(monkeypatch, tmp_path):
    monkeypatch.setenv("EOS_STORES_OPTUNA", "postgresql+psycopg://optuna@db/optuna")
    monkeypatch.setenv("EOS_STORES_MLFLOW", "http://mlflow:5000")
    monkeypatch.setenv("EOS_STORES_STORAGE", "s3://bucket/runs?region=x")
    found = run_dir_of(study_file(), tmp_path)
    assert found.optuna_url == "postgresql+psycopg://optuna@db/optuna"
    assert (found.mlflow_uri, found.mlflow_artifacts) == ("http://mlflow:5000", None)
    assert found.state(3) == "s3://bucket/runs/tiny/states/trial-3?region=x"
    own = run_dir_of(study_file(stores={"storage": str(tmp_path), "optuna": "sqlite:///o.db"}), tmp_path)
    assert own.state(3) == str(tmp_path / "tiny" / "states" / "trial-3")
    assert own.optuna_url == "sqlite:///o.db"


def test_a_newcomer_that_cannot_search_is_to_blame_while_it_is_there(monkeypatch):
    here, new = (Node(name, address) for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2")))
    there, said = [here], []
    monkeypatch.setattr("eos_platform.engine.cluster.preflight.nodes", lambda: there)
    watch = NodeWatch(said.append, lambda node_id: [replace(new, wrong=("has no eos-platform",))])

    def look():
        watch.looked = -math.inf
        watch.on_step_begin(0, [])
        return watch.blamed()

    assert look() is None
    there.append(new)
    assert look() == "node 10.0.0.2 has no eos-platform"
    assert said == [
        "node 10.0.0.2 joined",
        "node 10.0.0.2 has no eos-platform; a search that lands there stops the study",
    ]
    there.remove(new)
    assert look() is None
