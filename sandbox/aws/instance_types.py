"""The catalogue of machine types, from the vendor's data that moto ships, read without loading moto. Used by the
instance and attachment actions."""

from __future__ import annotations

import gzip
import importlib.util
import json
import threading
from functools import cache
from pathlib import Path
from typing import Any

_lock = threading.Lock()


def find_type(name: str) -> dict[str, Any] | None:
    """A machine type as DescribeInstanceTypes shows it."""
    return all_types().get(name)


def all_types() -> dict[str, dict[str, Any]]:
    with _lock:
        return _read()


def offerings(region: str, location_type: str) -> list[dict[str, Any]]:
    with _lock:
        return _read_offerings(region, location_type)


def max_volumes(name: str) -> int:
    """How many volumes a machine takes, its root included."""
    details = find_type(name) or {}
    ebs = details.get("EbsInfo", {})
    # 28 slots shared with network interfaces is the vendor's rule for a Nitro machine that declares nothing.
    limit = int(ebs.get("MaximumEbsAttachments") or (28 if details.get("Hypervisor") == "nitro" else 39))
    if ebs.get("AttachmentLimitType", "shared") == "dedicated" or details.get("Hypervisor") != "nitro":
        return limit
    # A shared limit also counts the network interface every instance has and the disks of the machine itself.
    stores = sum(disk.get("Count", 0) for disk in details.get("InstanceStorageInfo", {}).get("Disks", []))
    return max(1, limit - 1 - int(stores))


def same_device(one: str, other: str) -> bool:
    """/dev/sdf, sdf and /dev/xvdf are the same place of a machine."""
    return _place(one) == _place(other)


def _place(device: str) -> str:
    return device.removeprefix("/dev/").replace("xvd", "sd", 1)


@cache
def _read() -> dict[str, dict[str, Any]]:
    with gzip.open(_resources() / "instance_types.json.gz") as source:
        types: dict[str, dict[str, Any]] = json.load(source)
    return types


@cache
def _read_offerings(region: str, location_type: str) -> list[dict[str, Any]]:
    path = _resources() / "instance_type_offerings" / location_type / f"{region}.json.gz"
    if not path.is_file():
        path = path.with_suffix("")
    if not path.is_file():
        return []
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path) as source:
        found: list[dict[str, Any]] = json.load(source)
    return found


def _resources() -> Path:
    spec = importlib.util.find_spec("moto")
    if spec is None or spec.origin is None:
        raise RuntimeError("moto is not installed: install the product with its 'sandbox' extra")
    return Path(spec.origin).parent / "ec2" / "resources"
