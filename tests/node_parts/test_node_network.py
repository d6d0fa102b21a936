"""The addresses of real nodes, and how a sandbox comes by a network that nobody else uses."""

import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.nodes.network import MOST_NODES, Network, choose_octet, holds, routes_of_this_machine


def no_routes() -> list[IPv4Network]:
    return []


def remember(sandbox: Path, text: str) -> None:
    sandbox.mkdir(parents=True)
    (sandbox / "sandbox.json").write_text(text)


def test_nodes_their_pods_and_services_never_share_an_address() -> None:
    network = Network(140)
    nodes = [network.node(number) for number in range(1, MOST_NODES + 1)]
    pods = [IPv4Network(network.pods_of(number)) for number in range(1, MOST_NODES + 1)]
    assert len({network.host, *nodes}) == MOST_NODES + 1
    assert all(holds(network.nodes, address) for address in (network.host, *nodes))
    assert not any(one.overlaps(other) for one in pods for other in pods if one is not other)
    assert not any(one.overlaps(IPv4Network(network.nodes)) for one in pods)
    assert all(one.subnet_of(IPv4Network(network.pods)) for one in pods)
    assert not IPv4Network(network.services).overlaps(IPv4Network(network.pods))
    assert IPv4Network(network.services).subnet_of(IPv4Network("10.140.0.0/16"))


def test_names_of_links_are_short_enough_for_the_kernel_and_differ() -> None:
    network = Network(229)
    names = [network.switch, *(network.link(number) for number in range(1, MOST_NODES + 1))]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 15 for name in names)


def test_the_cgroups_of_one_sandbox_are_found_by_a_prefix_that_no_other_has() -> None:
    mine, other = Network(130), Network(131)
    assert mine.cgroup(12).startswith(mine.cgroup_prefix)
    assert not other.cgroup(1).startswith(mine.cgroup_prefix)


def test_an_address_lies_in_its_network_and_in_no_other() -> None:
    assert holds("10.140.0.0/17", "10.140.127.255")
    assert not holds("10.140.0.0/17", "10.140.128.0")
    assert not holds("10.140.0.0/17", "::1")


def test_a_sandbox_always_tries_the_same_number_first(tmp_path: Path) -> None:
    chosen = {choose_octet(tmp_path / "a", no_routes) for _ in range(3)}
    assert len(chosen) == 1


def test_two_sandboxes_get_two_networks(tmp_path: Path) -> None:
    first = choose_octet(tmp_path / "mine", no_routes)
    remember(tmp_path / "other", json.dumps({"network": first}))
    second = choose_octet(tmp_path / "mine", no_routes)
    assert second != first


def test_what_other_sandboxes_remember_may_be_old_or_damaged(tmp_path: Path) -> None:
    for name, text in {"old": "{}", "half": '{"netw', "list": "[]", "odd": '{"network": null}'}.items():
        remember(tmp_path / name, text)
    (tmp_path / "being-removed").mkdir()
    assert 130 <= choose_octet(tmp_path / "mine", no_routes) < 230


def test_a_network_that_is_routed_somewhere_is_left_alone(tmp_path: Path) -> None:
    free = 177
    routes = [IPv4Network(f"10.{octet}.7.0/24") for octet in range(256) if octet != free]
    assert choose_octet(tmp_path / "mine", lambda: routes) == free


def test_without_a_free_network_the_way_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="is free on this machine") as refused:
        choose_octet(tmp_path / "mine", lambda: [IPv4Network("10.0.0.0/8")])
    assert "sandbox down" in refused.value.way_out


def test_a_tunnel_that_takes_all_traffic_takes_no_network_away(tmp_path: Path) -> None:
    halves = [IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1")]
    assert choose_octet(tmp_path / "mine", lambda: halves) == choose_octet(tmp_path / "mine", no_routes)


def test_the_kernels_routes_are_read_without_the_default_route(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "sg140\t00808C0A\t0B008C0A\t0003\t0\t0\t0\t0080FFFF\t0\t0\t0\n"
    )
    assert routes_of_this_machine(table) == [IPv4Network("192.168.2.0/24"), IPv4Network("10.140.128.0/17")]
