"""What disks cost a month, from a dated price list. Pure."""

from activities.models.facts import DiskPrice
from activities.models.volumes import VolumeSpec


def disk_cost(spec: VolumeSpec, prices: dict[str, DiskPrice]) -> float:
    """USD a month; 0 for a type without a price, which `unpriced` names."""
    price = prices.get(spec.type)
    if price is None:
        return 0.0
    extra_iops = max(0, (spec.iops or 0) - price.included_iops)
    extra_throughput = max(0, (spec.throughput or 0) - price.included_throughput)
    return spec.size_gib * price.gib + extra_iops * price.iops + extra_throughput * price.throughput


def unpriced(specs: list[VolumeSpec], prices: dict[str, DiskPrice]) -> list[str]:
    """The types of these disks of which nobody knows the price."""
    return sorted({spec.type for spec in specs} - prices.keys())
