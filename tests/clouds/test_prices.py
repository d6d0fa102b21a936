"""Price lists: the shipped one is complete, and a person's own is read strictly."""

from pathlib import Path

import pytest

from activities.clouds.catalogue import read_prices, shipped_prices
from activities.clouds.registry import connect
from activities.errors import InvalidSpec
from activities.models.disk_types import DISK_TYPES

OWN = """
priced_on = "2027-01-01"
region = "eu-central-1"

[disks.gp3]
gib = 0.0952
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(OWN)
    return path


def test_every_disk_type_of_the_documents_has_a_price() -> None:
    assert set(shipped_prices("aws").disks) == set(DISK_TYPES)


def test_what_comes_with_a_disk_is_not_charged_for() -> None:
    gp3 = shipped_prices("aws").disks["gp3"]
    assert (gp3.included_iops, gp3.included_throughput) == (
        DISK_TYPES["gp3"].base_iops,
        DISK_TYPES["gp3"].base_throughput,
    )


def test_a_list_of_another_region_says_so() -> None:
    here = connect("aws", "us-east-1", {})
    there = connect("aws", "eu-west-1", {})
    assert here.priced_on == shipped_prices("aws").priced_on
    assert there.priced_on.endswith("(list of us-east-1)")


def test_a_list_named_in_the_settings_replaces_the_shipped_one(own: Path) -> None:
    cloud = connect("aws", "eu-central-1", {"prices_file": str(own)})
    assert cloud.priced_on == "2027-01-01"
    assert {kind: price.gib for kind, price in cloud.disk_prices().items()} == {"gp3": 0.0952}


@pytest.mark.parametrize(
    ("replace", "by", "words"),
    [
        ("gib =", "gibs =", "disks.gp3"),
        ("[disks.gp3]", "[disks.gp33]", "unknown disk type 'gp33'"),
        ("0.0952", '"cheap"', "disks.gp3.gib"),
        ("0.0952", "-1", "negative"),
        ('"2027-01-01"', '""', "priced_on"),
        ("[disks.gp3]", "[disks.gp3", "not valid TOML"),
        ("region", "place", "region|place"),
    ],
)
def test_a_list_that_is_not_clear_is_refused_with_its_place(
    own: Path, replace: str, by: str, words: str
) -> None:
    own.write_text(OWN.replace(replace, by))
    with pytest.raises(InvalidSpec, match=words) as caught:
        read_prices(own)
    assert str(own) in str(caught.value)


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"absent\.toml cannot be read: No such file"):
        connect("aws", "us-east-1", {"prices_file": str(tmp_path / "absent.toml")})
