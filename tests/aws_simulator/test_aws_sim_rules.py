"""The simulator's pure parts: volume rules, clock, store, filters, signatures of the wire form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.aws import faults, protocol
from sandbox.aws.clock import Clock
from sandbox.aws.errors import AwsError
from sandbox.aws.instance_types import max_volumes, same_device
from sandbox.aws.listing import chosen
from sandbox.aws.store import Store, StoreError, Table
from sandbox.aws.throttle import Throttle
from sandbox.aws.volume_rules import VOLUME_TYPES, VolumeSpec, complete


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    weight: int = 1


THINGS = Table("thing", Thing)


@pytest.mark.parametrize("kind", sorted(VOLUME_TYPES))
def test_every_type_takes_its_smallest_and_largest_size_and_no_more(kind):
    limits = VOLUME_TYPES[kind]
    iops = limits.min_iops or None
    assert complete(VolumeSpec(kind, limits.min_gib, iops)).size_gib == limits.min_gib
    assert complete(VolumeSpec(kind, limits.max_gib, iops)).size_gib == limits.max_gib
    for size in (limits.min_gib - 1, limits.max_gib + 1):
        with pytest.raises(AwsError):
            complete(VolumeSpec(kind, size, iops))


@pytest.mark.parametrize(
    ("spec", "iops", "throughput"),
    [
        (VolumeSpec("gp3", 1), 3_000, 125),
        (VolumeSpec("gp3", 160, 80_000, 2_000), 80_000, 2_000),
        (VolumeSpec("gp3", 100, 4_000, 1_000), 4_000, 1_000),
        (VolumeSpec("gp2", 1), 100, None),
        (VolumeSpec("gp2", 1_000), 3_000, None),
        (VolumeSpec("gp2", 16_384), 16_000, None),
        (VolumeSpec("io2", 4, 4_000), 4_000, None),
        (VolumeSpec("st1", 125), None, None),
    ],
)
def test_defaults_are_the_vendors(spec, iops, throughput):
    completed = complete(spec)
    assert (completed.iops, completed.throughput_mib) == (iops, throughput)


@pytest.mark.parametrize(
    "spec",
    [
        VolumeSpec("gp3", 10, 2_999),
        VolumeSpec("gp3", 10, 5_001),
        VolumeSpec("gp3", 65_536, 80_001),
        VolumeSpec("gp3", 100, 4_000, 1_001),
        VolumeSpec("gp3", 100, None, 124),
        VolumeSpec("gp2", 10, None, 125),
        VolumeSpec("io1", 4, 201),
        VolumeSpec("io2", 4, 4_001),
        VolumeSpec("sc1", 125, 100),
    ],
)
def test_rates_beyond_the_rules_are_refused(spec):
    with pytest.raises(AwsError) as caught:
        complete(spec)
    assert caught.value.status == 400


def test_the_clock_runs_at_its_speed_jumps_and_never_goes_back():
    real = [1000.0]
    clock = Clock(real=lambda: real[0])
    start = clock.now()
    clock.set_speed(10)
    real[0] += 2
    assert clock.now() == start + 20
    clock.advance(100)
    assert clock.now() == start + 120
    real[0] -= 50
    assert clock.now() == start + 120
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)


def test_a_clock_goes_on_from_its_saved_state():
    real = [1000.0]
    clock = Clock(real=lambda: real[0])
    clock.advance(500)
    again = Clock(clock.state, real=lambda: real[0])
    real[0] += 5
    assert again.now() == clock.now() == 1505.0


def test_a_transaction_left_without_commit_changes_nothing(tmp_path: Path):
    store = Store(tmp_path / "s.sqlite")
    with store.begin() as tx:
        tx.put(THINGS, "a", Thing("a"))
        tx.commit()
    with store.begin() as tx:
        tx.put(THINGS, "a", Thing("a", 2))
        tx.delete(THINGS, "a")
        tx.put(THINGS, "b", Thing("b"))
        assert [thing.name for thing in tx.all(THINGS)] == ["b"]
    with store.begin() as tx:
        assert tx.all(THINGS) == [Thing("a")]
    store.close()


def test_a_store_opens_again_with_what_was_committed(tmp_path: Path):
    store = Store(tmp_path / "s.sqlite")
    with store.begin() as tx:
        tx.put(THINGS, "a", Thing("a", 7))
        tx.put(THINGS, "b", Thing("b"))
        tx.commit()
        tx.delete(THINGS, "b")
        tx.commit()
    store.close()
    again = Store(tmp_path / "s.sqlite")
    with again.begin() as tx:
        assert tx.all(THINGS) == [Thing("a", 7)]
    again.close()


def test_a_store_is_opened_by_one_only(tmp_path: Path):
    store = Store(tmp_path / "s.sqlite")
    with pytest.raises(StoreError, match="in use"):
        Store(tmp_path / "s.sqlite")
    store.close()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("web-*", ["web-1", "web-22"]), ("web-?", ["web-1"]), ("db", ["db"]), (r"a\*b", ["a*b"]), ("*", None)],
)
def test_filters_know_wildcards_and_their_escape(pattern, names):
    things = [Thing("web-1"), Thing("web-22"), Thing("db"), Thing("a*b"), Thing("axb")]
    known = {"name": lambda thing: (thing.name,)}
    found = chosen(things, [{"Name": "name", "Values": [pattern]}], known, lambda thing: {})
    assert [thing.name for thing in found] == (
        names if names is not None else [thing.name for thing in things]
    )


def test_values_of_a_filter_are_alternatives_and_filters_add_up():
    things = [Thing("a", 1), Thing("b", 1), Thing("b", 2)]
    known = {"name": lambda thing: (thing.name,), "weight": lambda thing: (str(thing.weight),)}
    filters = [{"Name": "name", "Values": ["a", "b"]}, {"Name": "weight", "Values": ["1"]}]
    assert chosen(things, filters, known, lambda thing: {}) == things[:2]


def test_a_form_becomes_the_parameters_boto3_takes():
    form = {
        "Action": "CreateVolume",
        "Version": "2016-11-15",
        "Size": "7",
        "Encrypted": "true",
        "TagSpecification.1.ResourceType": "volume",
        "TagSpecification.1.Tag.2.Key": "second",
        "TagSpecification.1.Tag.1.Key": "first",
    }
    assert protocol.parse("ec2", "CreateVolume", form) == {
        "Size": 7,
        "Encrypted": True,
        "TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "first"}, {"Key": "second"}]}],
    }


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"Size": "many"}, "InvalidParameterValue"),
        ({"Encrypted": "perhaps"}, "InvalidParameterValue"),
        ({"Colour": "red"}, "UnknownParameter"),
        ({"Size.1": "7"}, "UnknownParameter"),
        ({"TagSpecification.x.ResourceType": "volume"}, "UnknownParameter"),
        ({"TagSpecification": "7", "TagSpecification.1.ResourceType": "volume"}, "MalformedQueryString"),
    ],
)
def test_an_ill_formed_form_is_refused(form, code):
    with pytest.raises(AwsError) as caught:
        protocol.parse("ec2", "CreateVolume", form)
    assert caught.value.code == code


def test_a_missing_parameter_is_named_as_on_the_wire():
    with pytest.raises(AwsError, match="VolumeId") as caught:
        protocol.parse("ec2", "DeleteVolume", {})
    assert caught.value.code == "MissingParameter"


def test_an_answer_is_escaped():
    body = protocol.render("ec2", "CreateVolume", {"VolumeId": "<&>", "Tags": []}, "id")
    assert b"<volumeId>&lt;&amp;&gt;</volumeId>" in body


def test_a_bucket_fills_again_up_to_its_burst():
    throttle = Throttle()
    rates = {"*": {"burst": 2, "per_second": 1}}
    assert [throttle.allows(rates, "A", 0) for _ in range(3)] == [True, True, False]
    assert [throttle.allows(rates, "A", 100) for _ in range(3)] == [True, True, False]
    assert throttle.allows(rates, "B", 0) is True


def pattern_of_hits(folder: Path, seed: int) -> list[bool]:
    store = Store(folder / "s.sqlite")
    with store.begin() as tx:
        faults.add(tx, "fault-1", {"effect": "throttle", "count": None, "probability": 0.5})
        hits = [bool(faults.strike(tx, seed, "DescribeVolumes", [])) for _ in range(64)]
    store.close()
    return hits


def test_chance_is_the_same_for_the_same_seed_and_another_for_another(tmp_path: Path):
    first = pattern_of_hits(tmp_path, 7)
    assert first == pattern_of_hits(tmp_path, 7)
    assert first != pattern_of_hits(tmp_path, 8)
    assert 16 < sum(first) < 48


def test_names_of_devices_mean_the_same_place():
    assert same_device("/dev/sdf", "xvdf")
    assert not same_device("/dev/sdf", "/dev/sdg")


def test_shared_slots_are_fewer_than_dedicated_ones():
    assert max_volumes("m7i.2xlarge") == 32
    assert max_volumes("m5.large") == 26
