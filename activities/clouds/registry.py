"""Clouds by name: the one place that knows which adapter serves which; used by the worker's assembly.

Adapters are imported when asked for, so that nobody pays for an SDK that is not used.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from activities.clouds.base import Cloud
from activities.errors import InvalidSpec
from activities.models.clusters import AwsSettings


def connect(cloud: str, region: str, options: Mapping[str, str]) -> Cloud:
    """The clients of one cloud account and region. `options` are the cloud's own keys of the settings.

    No network is touched: credentials are checked when they are first used, or with `account`.
    """
    if cloud not in _CONNECT:
        known = ", ".join(sorted(_CONNECT))
        raise InvalidSpec(f"cloud {cloud!r} is not supported yet; supported: {known}")
    return _CONNECT[cloud](region, options)


def _aws(region: str, options: Mapping[str, str]) -> Cloud:
    from activities.clouds import aws

    def path(key: str) -> Path | None:
        return Path(options[key]) if options.get(key) else None

    return aws.connect(
        AwsSettings(
            region=region,
            endpoint_url=options.get("endpoint_url", ""),
            profile=options.get("profile", ""),
            credentials_file=path("credentials_file"),
            prices_file=path("prices_file"),
        )
    )


_CONNECT: dict[str, Callable[[str, Mapping[str, str]], Cloud]] = {"aws": _aws}
