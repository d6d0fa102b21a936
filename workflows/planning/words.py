"""How plans count things in sentences."""


def count(number: int, noun: str) -> str:
    """As in "1 disk" and "3 disks"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def no_price(kind: str) -> str:
    return f"the price list has no {kind} disks; what they cost is not in the sum"
