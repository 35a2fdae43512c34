"""The lease in the store: one driver at a time on any host, none that is dead."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy as sql

from eos_platform.common.errors import EosError
from eos_platform.engine.store import lease as lease_module
from eos_platform.engine.store.lease import Lease, LeaseLost

QUICK = {"beat": 0.1, "expiry": 0.6}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def make(url):
    engines = []

    def lease(**options):
        engines.append(sql.create_engine(url, connect_args={"timeout": 30}))
        return Lease(engines[-1], "tiny", **{**QUICK, **options})

    yield lease
    for engine in engines:
        engine.dispose()


@pytest.fixture
def elsewhere(monkeypatch):
    """A driver of another host: its process number says nothing here."""
    real = lease_module._me

    def become(host):
        monkeypatch.setattr(lease_module, "_me", lambda: {**real(), "machine": host, "host": host, "process": 1})

    return become


def test_a_second_driver_is_refused_and_a_later_one_is_not(make):
    with make().held(), pytest.raises(EosError, match=f"study 'tiny' is being run by process {os.getpid()} on "):
        make().take()
    with make().held():
        pass


def test_a_driver_of_another_host_is_refused_while_it_lives(make, elsewhere):
    elsewhere("far")
    with make().held(), pytest.raises(EosError, match="is being run by process 1 on far"):
        make().take()


def test_a_dead_driver_of_another_host_holds_nothing_for_ever(make, elsewhere):
    elsewhere("far")
    make().take()  # and never renewed: its host is gone
    said, begun = [], time.monotonic()
    with make().held(said.append) as lease:
        assert time.monotonic() - begun >= QUICK["expiry"]
        lease.check()
    assert said == ["the last driver (process 1 on far) is silent; waiting to be sure"]


CHILD = """
import sys, time, sqlalchemy as sql
from eos_platform.engine.store.lease import Lease
Lease(sql.create_engine(sys.argv[1]), "tiny").take()
print("taken", flush=True)
time.sleep(60)
"""


def test_a_driver_killed_on_this_machine_is_known_at_once(make, url):
    child = subprocess.Popen([sys.executable, "-c", CHILD, url], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "taken\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    said = []
    with make(expiry=1000.0).held(said.append):
        assert not said


def test_a_driver_that_stood_still_finds_its_study_taken_and_stops(make, elsewhere):
    elsewhere("far")
    asleep = make(beat=1000.0)
    asleep.take()
    with make().held():
        asleep._renewed -= 1000.0
        with pytest.raises(LeaseLost, match="another driver took over study 'tiny'"):
            asleep.check()
    with make().held():  # and it took nothing back
        pass


def test_of_many_that_reach_for_a_study_together_one_gets_it(make):
    leases, start, got = [make(expiry=30.0) for _ in range(6)], threading.Barrier(6), []

    def reach(lease):
        start.wait()
        try:
            lease.take()
        except EosError:
            return
        got.append(lease)

    threads = [threading.Thread(target=reach, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    while got and any(thread.is_alive() for thread in threads):
        got[0].renew()  # the one that got it lives
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_a_store_that_is_down_is_no_lost_lease(make, monkeypatch):
    with make().held() as lease:

        def down(*given):
            raise sql.exc.OperationalError("select", {}, Exception("no route"))

        monkeypatch.setattr(lease, "_swap", down)
        time.sleep(3 * QUICK["beat"])
        lease._renewed -= 1000.0
        lease.check()
        monkeypatch.undo()
        lease.check()
        assert not lease.lost
