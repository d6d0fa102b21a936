"""What each disk type allows, as values a cloud declares; read by document validation and by planning.

EBS: the EC2 API reference's CreateVolume limits, ratios from the EBS CSI driver (knowledge marks sources).
DigitalOcean has one type, `standard-ssd`, of 1 to 16,384 GiB without settable performance.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class DiskType:
    """Bounds of one type. Ratios: `iops_per_gib` is the most IOPS one GiB carries; `mibps_per_iops` the most
    MiB/s one IOPS carries. None: the value cannot be set for this type."""

    min_gib: int
    max_gib: int
    min_iops: int | None = None
    max_iops: int | None = None
    iops_per_gib: int | None = None
    base_iops: int = 0
    needs_iops: bool = False
    min_throughput: int | None = None
    max_throughput: int | None = None
    base_throughput: int = 0
    mibps_per_iops: float | None = None


DISK_TYPES: dict[str, DiskType] = {
    "gp3": DiskType(1, 65_536, 3_000, 80_000, 500, 3_000, False, 125, 2_000, 125, 0.25),
    "gp2": DiskType(1, 16_384),
    "io2": DiskType(4, 65_536, 100, 256_000, 1_000, needs_iops=True),
    "io1": DiskType(4, 16_384, 100, 64_000, 50, needs_iops=True),
    "st1": DiskType(125, 16_384),
    "sc1": DiskType(125, 16_384),
}


def check_disk(kind: str, size_gib: int, iops: int | None, throughput: int | None) -> None:
    """Raise ValueError with the limit and the way out if no cloud would make such a disk."""
    limits = DISK_TYPES.get(kind)
    if limits is None:
        raise ValueError(f"unknown disk type {kind!r}; known: {', '.join(sorted(DISK_TYPES))}")
    if not limits.min_gib <= size_gib <= limits.max_gib:
        raise ValueError(
            f"size {size_gib} GiB is outside {limits.min_gib} to {limits.max_gib:,} GiB, what {kind} allows"
        )
    _check_iops(kind, limits, size_gib, iops)
    _check_throughput(kind, limits, iops, throughput)


def _check_iops(kind: str, limits: DiskType, size_gib: int, iops: int | None) -> None:
    if iops is None:
        if limits.needs_iops:
            raise ValueError(f"{kind} needs iops")
        return
    if limits.max_iops is None or limits.min_iops is None:
        raise ValueError(f"iops cannot be set for {kind}")
    if not limits.min_iops <= iops <= limits.max_iops:
        raise ValueError(
            f"iops {iops} is outside {limits.min_iops:,} to {limits.max_iops:,}, what {kind} allows"
        )
    # The base performance comes with every size; the ratio binds only what is asked for beyond it.
    if limits.iops_per_gib and iops > limits.base_iops and iops > limits.iops_per_gib * size_gib:
        need = -(-iops // limits.iops_per_gib)
        raise ValueError(
            f"iops {iops} is above {limits.iops_per_gib} per GiB of {kind}; "
            f"use at least {need}Gi or at most {max(limits.base_iops, limits.iops_per_gib * size_gib)} iops"
        )


def _check_throughput(kind: str, limits: DiskType, iops: int | None, throughput: int | None) -> None:
    if throughput is None:
        return
    if limits.max_throughput is None or limits.min_throughput is None:
        raise ValueError(f"throughput cannot be set for {kind}")
    if not limits.min_throughput <= throughput <= limits.max_throughput:
        raise ValueError(
            f"throughput {throughput} is outside {limits.min_throughput} to {limits.max_throughput:,} MiB/s, "
            f"what {kind} allows"
        )
    effective = iops or limits.base_iops
    if limits.mibps_per_iops and throughput > limits.mibps_per_iops * effective:
        raise ValueError(
            f"throughput {throughput} MiB/s needs at least {int(throughput / limits.mibps_per_iops)} iops; "
            f"{effective} are asked for"
        )
