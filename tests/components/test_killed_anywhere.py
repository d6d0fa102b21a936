"""A worker killed at any change of the cluster: the next ends in the same state, and undo leaves nothing."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytest

from activities.components import ComponentActivities
from activities.errors import Transient, Unreachable
from activities.facts import FactsActivities
from activities.instances import InstanceActivities
from activities.kube.base import Manifest
from activities.kube.rbac import permissions
from activities.models.facts import ReadDeleteFacts, ReadDeployFacts
from activities.models.views import AskApps, AskCluster
from activities.views import ViewActivities
from tests import kube_requests as ask
from tests.fakes_cloud import FakeCloud
from tests.fakes_kube import FakeKube, OneCluster

Step = Callable[[], Any]


class Killed(BaseException):
    """The worker is gone: nothing of the activity runs after it."""


class World:
    """A cluster, a cloud with two disks, and the steps of a deploy and of its undo."""

    def __init__(self) -> None:
        self.kube, self.cloud = FakeKube(), FakeCloud()
        for number in (0, 1):
            self.cloud.put(ask.disk(number))
            self.cloud.attach(f"vol-{number}", f"i-n-{number}")
        clusters = OneCluster(self.kube, self.cloud)
        self.components, self.instances = ComponentActivities(clusters), InstanceActivities(clusters)
        self.facts, self.views = FactsActivities(clusters), ViewActivities(clusters)

    @property
    def deploy(self) -> list[Step]:
        c, i = self.components, self.instances
        instances: list[Step] = []
        for n in (0, 1):
            instances += [
                partial(i.bind_volume, ask.bind(n)),
                partial(i.start_instance, ask.of_instance(n)),
                partial(i.await_attached, ask.attached(n)),
                partial(i.await_ready, ask.of_instance(n)),
            ]
        return [
            partial(c.ensure_namespace, ask.namespace()),
            partial(c.ensure_namespace, ask.namespace(component="web")),
            partial(c.ensure_secrets, ask.of_component()),
            partial(c.ensure_services, ask.of_component()),
            *instances,
            partial(c.check_health, ask.of_component()),
            partial(c.record_release, ask.record()),
        ]

    @property
    def undo(self) -> list[Step]:
        c, i = self.components, self.instances
        instances: list[Step] = []
        for n in (1, 0):
            instances += [
                partial(i.remove_instance, ask.stop(n)),
                partial(i.unbind_volume, ask.unbind(n)),
            ]
        return [
            partial(c.remove_release, ask.unrecord()),
            *instances,
            partial(c.remove_services, ask.remove()),
            partial(c.remove_secrets, ask.remove()),
            partial(c.remove_namespace, ask.namespace(undo=True)),
            partial(c.remove_namespace, ask.namespace(component="web", undo=True)),
        ]

    def do(self, steps: list[Step]) -> None:
        for step in steps:
            for _ in range(20):
                try:
                    step()
                except (Killed, Transient):
                    continue
                break
            else:
                pytest.fail("a step does not end")

    def once(self, error: BaseException, change: int, *, applied: bool) -> None:
        """Raise at the change of that number, once."""

        def hook(number: int) -> None:
            if number == change:
                raise error

        if applied:
            self.kube.after_change = hook
        else:
            self.kube.before_change = hook

    @property
    def state(self) -> dict[Any, Manifest]:
        """Everything there is, but for what must differ: identities, times and random values."""
        seen = {}
        for key, stored in self.kube.objects.items():
            plain = deepcopy(stored)
            for field in ("uid", "resourceVersion", "ownerReferences"):
                plain["metadata"].pop(field, None)
            plain.pop("stringData", None)
            if key[0] == "ConfigMap":
                plain["data"].pop("release.json", None)
            seen[key] = plain
        return seen


def _changes_of_a_deploy() -> int:
    world = World()
    world.do(world.deploy)
    return world.kube.changes


def _changes_of_deploy_and_undo() -> int:
    world = World()
    world.do(world.deploy + world.undo)
    return world.kube.changes


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("change", range(1, _changes_of_deploy_and_undo() + 1))
@pytest.mark.parametrize("error", [Killed(), Unreachable("no answer")], ids=["killed", "reply-lost"])
def test_a_deploy_and_its_undo_end_as_if_undisturbed(
    error: BaseException, change: int, applied: bool
) -> None:
    undisturbed, world = World(), World()
    before = world.state
    world.once(error, change, applied=applied)
    undisturbed.do(undisturbed.deploy)
    world.do(world.deploy)
    assert world.state == undisturbed.state
    world.do(world.undo)
    assert world.state == before


@pytest.mark.parametrize("change", range(1, _changes_of_a_deploy() + 1))
def test_undo_leaves_nothing_of_a_deploy_that_stopped_anywhere(change: int) -> None:
    world = World()
    before = world.state
    world.once(Killed(), change, applied=True)
    for step in world.deploy:
        try:
            step()
        except Killed:
            break
    world.do(world.undo)
    assert world.state == before


def test_the_permissions_asked_for_are_those_that_are_used() -> None:
    """None is missing, or the fake would have refused a call; this finds those that nobody needs."""
    world = World()
    world.facts.read_deploy_facts(ReadDeployFacts(cluster="prod", app="shop", components=["db"]))
    world.do(world.deploy)
    world.facts.read_deploy_facts(ReadDeployFacts(cluster="prod", app="shop", components=["db"]))
    world.facts.read_delete_facts(ReadDeleteFacts(cluster="prod", app="shop"))
    world.views.view_apps(AskApps(cluster="prod"))
    world.views.check_cluster(AskCluster(cluster="prod"))
    newer = ask.of_instance(termination_grace="5s")
    world.do([lambda: world.instances.start_instance(newer)])
    world.components.record_release(ask.record(2))
    world.kube.the("Pod", "db-0-0", "shop")["status"]["conditions"][1]["status"] = "False"
    with pytest.raises(Transient):
        world.instances.await_ready(ask.of_instance())
    world.do(world.undo)
    world.do([lambda: world.components.remove_release(ask.unrecord(2, all=True))])
    world.do([lambda: world.components.remove_namespace(ask.namespace(component="web"))])
    assert world.kube.used == set(permissions())
