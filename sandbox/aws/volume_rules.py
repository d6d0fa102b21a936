"""What disks may be made: sizes, rates and their ratios per volume type, as pure functions. Used when a volume is
created or modified; a type is a row of the table and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.aws.errors import AwsError, invalid_combination, invalid_value, missing


@dataclass(frozen=True, slots=True)
class TypeLimits:
    min_gib: int
    max_gib: int
    min_iops: int = 0
    max_iops: int = 0
    max_iops_per_gib: int = 0
    default_iops: int | None = None
    max_throughput_mib: int = 0
    default_throughput_mib: int | None = None
    multi_attach: bool = False

    @property
    def takes_iops(self) -> bool:
        return self.max_iops > 0

    @property
    def takes_throughput(self) -> bool:
        return self.max_throughput_mib > 0


VOLUME_TYPES = {
    "gp2": TypeLimits(1, 16_384),
    "gp3": TypeLimits(
        1,
        65_536,
        min_iops=3_000,
        max_iops=80_000,
        max_iops_per_gib=500,
        default_iops=3_000,
        max_throughput_mib=2_000,
        default_throughput_mib=125,
    ),
    "io1": TypeLimits(4, 16_384, min_iops=100, max_iops=64_000, max_iops_per_gib=50, multi_attach=True),
    "io2": TypeLimits(4, 65_536, min_iops=100, max_iops=256_000, max_iops_per_gib=1_000, multi_attach=True),
    "sc1": TypeLimits(125, 16_384),
    "st1": TypeLimits(125, 16_384),
    "standard": TypeLimits(1, 1_024),
}
# gp3 gives at most a quarter of a MiB/s per IOPS, and never less than 125 MiB/s.
_MAX_THROUGHPUT_PER_IOPS = 0.25
_MIN_THROUGHPUT_MIB = 125
_MAX_GP2_THROUGHPUT_MIB = 250
# What a volume gets whose type changes to one with IOPS to choose (API reference of ModifyVolume).
_CONVERTED_IOPS = 3_000


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """What a volume is: as asked for on the way in, complete on the way out of `complete`."""

    type: str
    size_gib: int
    iops: int | None = None
    throughput_mib: int | None = None
    multi_attach: bool = False


@dataclass(frozen=True, slots=True)
class VolumeChange:
    """What a volume is to become; what is None is not asked for."""

    type: str | None = None
    size_gib: int | None = None
    iops: int | None = None
    throughput_mib: int | None = None
    multi_attach: bool | None = None


def complete(spec: VolumeSpec) -> VolumeSpec:
    """The specification with its defaults filled in; refuses what the vendor refuses, in its words."""
    limits = VOLUME_TYPES.get(spec.type)
    if limits is None:
        supported = ", ".join(sorted(VOLUME_TYPES))
        raise AwsError(
            "UnknownVolumeType",
            f"The specified volume type '{spec.type}' is unsupported. The supported volume types are {supported}.",
        )
    _check_size(spec, limits)
    iops = _iops(spec, limits)
    throughput = _throughput(spec, limits, iops)
    if spec.multi_attach and not limits.multi_attach:
        raise invalid_combination(
            f"The parameter multiAttachEnabled is not supported for {spec.type} volumes."
        )
    return VolumeSpec(spec.type, spec.size_gib, iops, throughput, spec.multi_attach)


def changed(current: VolumeSpec, change: VolumeChange) -> VolumeSpec:
    """What a volume is after a change; refuses what the vendor refuses. What is not asked for stays, or is the
    new type's default when the type changes (API reference of ModifyVolume)."""
    size_gib = change.size_gib if change.size_gib is not None else current.size_gib
    if size_gib < current.size_gib:
        # The text is quoted in aws/aws-cli#4216.
        raise invalid_value("New size cannot be smaller than existing size")
    kind = change.type or current.type
    multi_attach = change.multi_attach if change.multi_attach is not None else current.multi_attach
    iops, throughput = change.iops, change.throughput_mib
    limits = VOLUME_TYPES.get(kind)
    if iops is None and limits is not None and limits.takes_iops:
        iops = current.iops if kind == current.type else _converted_iops(current, kind)
    if throughput is None and limits is not None and limits.takes_throughput:
        throughput = current.throughput_mib if kind == current.type else _converted_throughput(current)
    return complete(VolumeSpec(kind, size_gib, iops, throughput, multi_attach))


def _converted_iops(current: VolumeSpec, kind: str) -> int:
    # A gp2 volume that becomes gp3 does not get slower (EBS user guide, "Request EBS volume modifications").
    had = (current.iops or 0) if (current.type, kind) == ("gp2", "gp3") else 0
    return max(_CONVERTED_IOPS, had)


def _converted_throughput(current: VolumeSpec) -> int:
    # The user guide's example is 500 GiB, 250 MiB/s; gp2 moves at most 256 KiB with each of its IOPS.
    had = min(_MAX_GP2_THROUGHPUT_MIB, (current.iops or 0) // 4) if current.type == "gp2" else 0
    return max(_MIN_THROUGHPUT_MIB, had)


def _check_size(spec: VolumeSpec, limits: TypeLimits) -> None:
    if spec.size_gib < limits.min_gib:
        raise invalid_value(
            f"Volume of {spec.size_gib}GiB is too small for volume type {spec.type}; minimum is {limits.min_gib}GiB."
        )
    if spec.size_gib > limits.max_gib:
        if spec.type == "io2":
            raise _io2_limit()
        raise invalid_value(
            f"Volume of {spec.size_gib}GiB is too large for volume type {spec.type}; maximum is {limits.max_gib}GiB."
        )


def _iops(spec: VolumeSpec, limits: TypeLimits) -> int | None:
    if spec.type == "gp2":
        if spec.iops is not None:
            raise invalid_combination("The parameter iops is not supported for gp2 volumes.")
        return max(100, min(16_000, 3 * spec.size_gib))
    if not limits.takes_iops:
        if spec.iops is not None:
            raise invalid_combination(f"The parameter iops is not supported for {spec.type} volumes.")
        return None
    if spec.iops is None:
        if limits.default_iops is None:
            raise missing("iops")
        return limits.default_iops
    if spec.iops < limits.min_iops:
        raise invalid_value(f"Volume iops of {spec.iops} is too low; minimum is {limits.min_iops}.")
    if spec.iops > limits.max_iops:
        if spec.type == "io2":
            raise _io2_limit()
        raise invalid_value(f"Volume iops of {spec.iops} is too high; maximum is {limits.max_iops}.")
    # gp3 gives its free 3,000 IOPS whatever the size.
    allowed = max(limits.max_iops_per_gib * spec.size_gib, limits.default_iops or 0)
    if spec.iops > allowed:
        if spec.type == "io2":
            raise _io2_limit()
        ratio = spec.iops / spec.size_gib
        raise invalid_value(
            f"Iops to volume size ratio of {ratio:.6f} is too high; maximum is {limits.max_iops_per_gib:.6f}."
        )
    return spec.iops


def _throughput(spec: VolumeSpec, limits: TypeLimits, iops: int | None) -> int | None:
    if not limits.takes_throughput:
        if spec.throughput_mib is not None:
            raise invalid_combination(f"The parameter throughput is not supported for {spec.type} volumes.")
        return None
    if spec.throughput_mib is None:
        return limits.default_throughput_mib
    if spec.throughput_mib < _MIN_THROUGHPUT_MIB:
        raise invalid_value(
            f"Volume throughput of {spec.throughput_mib} is too low; minimum is {_MIN_THROUGHPUT_MIB}."
        )
    if spec.throughput_mib > limits.max_throughput_mib:
        raise invalid_value(
            f"Volume throughput of {spec.throughput_mib} is too high; maximum is {limits.max_throughput_mib}."
        )
    if iops and spec.throughput_mib > iops * _MAX_THROUGHPUT_PER_IOPS:
        raise invalid_value(
            f"Throughput (MiBps) to iops ratio of {spec.throughput_mib / iops:.6f} is too high; "
            f"maximum is {_MAX_THROUGHPUT_PER_IOPS:.6f}."
        )
    return spec.throughput_mib


def _io2_limit() -> AwsError:
    return invalid_combination(
        "io2 volumes configured with greater than 64 TiB or 256K IOPS or 1000:1 IOPS:GB ratio are not supported."
    )
