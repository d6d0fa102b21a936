"""The starter's settings: what `--settings` and the environment say, read at first use by the CLI's
commands."""

import os
from pathlib import Path

from activities.models.settings import ClusterSettings, Settings, SettingsError, load
from starter.failures import BAD_REQUEST, OperationFailed


def read(path: str | None) -> Settings:
    """The settings, or an OperationFailed that says what is wrong with them."""
    try:
        return load(Path(path).expanduser() if path else None, os.environ)
    except SettingsError as error:
        raise OperationFailed(BAD_REQUEST, str(error), error.help) from None


def choose_cluster(settings: Settings, name: str | None) -> ClusterSettings:
    """The cluster asked for; without a name, the only one that the settings have."""
    known = ", ".join(sorted(settings.clusters))
    where = settings.source or "the settings"
    if not settings.clusters:
        raise OperationFailed(
            BAD_REQUEST,
            f"{where} names no cluster" if settings.source else "there is no settings file",
            "add a [clusters.NAME] section, or bring up a sandbox with `supergiant sandbox up`",
        )
    if name is None:
        if len(settings.clusters) > 1:
            raise OperationFailed(BAD_REQUEST, f"which cluster? {where} names {known}", "say --cluster NAME")
        return next(iter(settings.clusters.values()))
    if name not in settings.clusters:
        raise OperationFailed(BAD_REQUEST, f"no cluster named {name!r} in {where}", f"known: {known}")
    return settings.clusters[name]
