"""How a sandbox gets its ports."""

import json
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.ports import NAMES, choose_ports


def chosen(folder: Path, free: object = None) -> dict[str, int]:
    def remember(ports: dict[str, int]) -> None:
        folder.mkdir()
        (folder / "sandbox.json").write_text(json.dumps({"ports": ports}))

    return choose_ports(folder, remember, free or (lambda port: True))  # type: ignore[arg-type]


def test_every_name_gets_a_port_of_its_own(tmp_path: Path) -> None:
    ports = chosen(tmp_path / "a")
    assert set(ports) == set(NAMES)
    assert len(set(ports.values())) == len(NAMES)


def test_the_ports_are_outside_the_range_of_outgoing_connections(tmp_path: Path) -> None:
    assert max(chosen(tmp_path / "a").values()) < 32768


def test_many_sandboxes_share_no_port_even_while_none_of_them_listens(tmp_path: Path) -> None:
    all_ports = [port for number in range(40) for port in chosen(tmp_path / str(number)).values()]
    assert len(all_ports) == len(set(all_ports))


def test_a_block_with_one_taken_port_is_passed_over(tmp_path: Path) -> None:
    first = chosen(tmp_path / "a")
    (tmp_path / "a" / "sandbox.json").unlink()
    (tmp_path / "a").rmdir()
    taken = first["aws"]
    second = chosen(tmp_path / "a", lambda port: port != taken)
    assert taken not in second.values()


def test_a_damaged_neighbour_does_not_stop_the_choice(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sandbox.json").write_text("{")
    assert chosen(tmp_path / "a")


def test_no_free_ports_is_said_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="sandbox down"):
        chosen(tmp_path / "a", lambda port: False)
