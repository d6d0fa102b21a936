"""Quantities as people write them ("250m", "512Mi", "200Gi", "90s"), read into plain integers; the only parser."""

import re

_MEMORY = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
GIB = 2**30


def cpu_millicores(text: str) -> int:
    """ "250m" is 250, "2" is 2000, "0.5" is 500."""
    if match := re.fullmatch(r"(\d+)m", text):
        value = int(match[1])
    elif re.fullmatch(r"\d+(\.\d{1,3})?", text):
        value = round(float(text) * 1000)
    else:
        raise ValueError(f"{text!r} is not an amount of CPU; write '250m' or '2'")
    if value < 1:
        raise ValueError(f"{text!r} is not an amount of CPU above zero")
    return value


def memory_bytes(text: str) -> int:
    """ "512Mi" is 536870912."""
    match = re.fullmatch(r"(\d+)(Ki|Mi|Gi|Ti|k|M|G|T)?", text)
    if not match or int(match[1]) < 1:
        raise ValueError(f"{text!r} is not an amount of memory above zero; write '512Mi' or '2Gi'")
    return int(match[1]) * _MEMORY[match[2] or ""]


def size_gib(text: str) -> int:
    """ "200Gi" is 200, "1Ti" is 1024. Disks come in whole GiB."""
    match = re.fullmatch(r"(\d+)(Gi|Ti)", text)
    if not match:
        raise ValueError(f"size {text!r} is not a disk size; write whole GiB such as '200Gi'")
    size = int(match[1]) * (1024 if match[2] == "Ti" else 1)
    if size < 1:
        raise ValueError(f"size {text!r} is zero; a disk has at least 1Gi")
    return size


def seconds(text: str) -> int:
    """ "90s" is 90, "2m" is 120, "1h" is 3600, "7d" is 604800."""
    match = re.fullmatch(r"(\d+)(s|m|h|d)", text)
    if not match:
        raise ValueError(f"{text!r} is not a duration; write '30s', '5m', '2h' or '7d'")
    return int(match[1]) * _SECONDS[match[2]]
