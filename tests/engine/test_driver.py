"""What Ray Tune makes of workers that are gone."""

from types import SimpleNamespace

import pytest
import ray
from ray.air.execution._internal.actor_manager import RayActorManager

from eos_platform.engine.driver import ray_errors_are_deaths


@pytest.mark.parametrize("error", [ray.exceptions.OutOfMemoryError("no memory"), ray.exceptions.WorkerCrashedError()])
def test_a_worker_that_ray_gave_up_is_one_that_died(error):
    received = []
    actor = SimpleNamespace(actor_id=1, _on_error=None)
    task = SimpleNamespace(_tracked_actor=actor, _on_error=lambda actor, exception: received.append(exception))
    manager = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=lambda tracked_actor: None)

    def fail():
        RayActorManager._actor_task_failed(manager, tracked_actor_task=task, exception=error)

    with pytest.raises(RuntimeError, match="unexpected exception"):  # else Ray has learned it: ours can go
        fail()
    with ray_errors_are_deaths():
        fail()
    assert [type(one) for one in received] == [ray.exceptions.RayActorError]
    assert str(error) in str(received[0])
    assert manager._failed_actor_ids == {1}
    with pytest.raises(RuntimeError):
        fail()
