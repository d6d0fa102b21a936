"""Price lists: dated TOML files, one shipped for each cloud and replaceable by one that the settings name."""

import tomllib
from importlib import resources
from pathlib import Path

from pydantic import Field, ValidationError

from activities.errors import InvalidSpec
from activities.models.common import Document
from activities.models.disk_types import DISK_TYPES
from activities.models.facts import DiskPrice


class PriceList(Document):
    """What disks cost a month, in USD, on the day `priced_on` and in `region`."""

    priced_on: str = Field(min_length=1)
    region: str = Field(min_length=1)
    disks: dict[str, DiskPrice] = Field(min_length=1)

    def dated(self, region: str) -> str:
        """The date as a plan shows it; says so when the list is of another region than the disks."""
        return self.priced_on if region == self.region else f"{self.priced_on} (list of {self.region})"


def shipped_prices(cloud: str) -> PriceList:
    text = (
        resources.files("activities.clouds").joinpath("prices", f"{cloud}.toml").read_text(encoding="utf-8")
    )
    return _parsed(text, f"the price list of {cloud}")


def read_prices(path: Path) -> PriceList:
    """The price list that a person wrote; anything unclear in it is refused, as money depends on it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InvalidSpec(
            f"the price list {path} cannot be read: {reason}",
            help="Correct `prices_file` in the worker's settings, or leave it out to use the shipped prices.",
        ) from error
    return _parsed(text, f"the price list {path}")


def _parsed(text: str, where: str) -> PriceList:
    try:
        prices = PriceList.model_validate(tomllib.loads(text), extra="forbid")
    except tomllib.TOMLDecodeError as error:
        raise InvalidSpec(f"{where} is not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidSpec(f"{where} is wrong at {place}: {first['msg']}") from error
    for kind, price in prices.disks.items():
        if kind not in DISK_TYPES:
            raise InvalidSpec(
                f"{where} has unknown disk type {kind!r}; known: {', '.join(sorted(DISK_TYPES))}"
            )
        if any(value < 0 for value in price.model_dump().values()):
            raise InvalidSpec(f"{where} has a negative number at disks.{kind}")
    return prices
