"""The settings file: one TOML file that starters and workers read alike, with overrides by environment.

`load` is called once per process, by `starter.settings` and by the worker's assembly, and the result is
passed down; nothing below reads the environment. Plain dataclasses instead of pydantic models, because
every command reads the settings and most of them need no model.

Overrides: SUPERGIANT_<SECTION>_<KEY>, such as SUPERGIANT_TEMPORAL_ADDRESS, and for a cluster that the file
names SUPERGIANT_CLUSTERS_<NAME>_<KEY>, in capitals and with '_' for '-'. A list is written with commas.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

from activities.models.quantities import seconds

#: Keys that only clusters of one cloud have; a cloud that is not here is not known.
CLOUD_KEYS: dict[str, tuple[str, ...]] = {
    "aws": ("credentials_file", "endpoint_url", "prices_file", "profile"),
}

PREFIX = "SUPERGIANT_"

#: Where to listen. The mark tells it from other texts when the file is read.
Address = Annotated[str, "HOST:PORT"]


class SettingsError(ValueError):
    """The settings cannot be used; the message names the file or variable and the key, `help` the way out."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


@dataclass(frozen=True, kw_only=True)
class TemporalSettings:
    """Where operations live. `profile` names a profile of Temporal's own configuration file, for TLS and
    keys; an empty address is the profile's, or 127.0.0.1:7233 without one."""

    address: str = ""
    namespace: str = ""
    profile: str = ""


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """One Kubernetes cluster and the cloud account it runs in. `cloud_options` are the keys of that cloud
    alone (CLOUD_KEYS); only the worker's side of them is ever used."""

    name: str
    cloud: str
    account: str
    region: str
    zones: tuple[str, ...]
    kubeconfig: Path | None = None
    context: str = ""
    storage_class: str = "gp3"
    retention: timedelta | None = None
    cloud_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """How a worker runs. `graceful_shutdown` is what running activities get before they are cancelled;
    `retention` how long a replaced or deleted component's disks are kept."""

    metrics_address: Address = "127.0.0.1:9464"
    health_address: Address = "127.0.0.1:9465"
    max_activities: int = 100
    graceful_shutdown: timedelta = timedelta(seconds=20)
    retention: timedelta = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """The policy file; without one nothing needs an approval."""

    file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`source` None: there is no file, and these are the defaults with the environment's overrides."""

    source: Path | None = None
    temporal: TemporalSettings = TemporalSettings()
    clusters: Mapping[str, ClusterSettings] = field(default_factory=dict)
    worker: WorkerSettings = WorkerSettings()
    policy: PolicySettings = PolicySettings()


def load(path: Path | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """Read the file at `path`, or else the one that `find` finds, and apply the environment's overrides."""
    env = os.environ if env is None else env
    source = path or find(env)
    data = _read(source) if source else {}
    where = str(source) if source else "the settings"
    reader = _Reader(where, (source or Path.cwd() / "settings").resolve().parent, env)
    unknown = sorted(set(data) - {"temporal", "clusters", "worker", "policy"})
    if unknown:
        raise SettingsError(
            f"{where}: unknown section {unknown[0]!r}", "known sections: clusters, policy, temporal, worker"
        )
    clusters = reader.table("clusters", data.get("clusters", {}))
    return Settings(
        source=source,
        temporal=reader.section(TemporalSettings, "temporal", data.get("temporal", {})),
        clusters={name: reader.cluster(name, table) for name, table in clusters.items()},
        worker=reader.section(WorkerSettings, "worker", data.get("worker", {})),
        policy=reader.section(PolicySettings, "policy", data.get("policy", {})),
    )


def find(env: Mapping[str, str]) -> Path | None:
    """SUPERGIANT_SETTINGS, else ./supergiant.toml, else ~/.config/supergiant/settings.toml, else none."""
    if named := env.get(PREFIX + "SETTINGS"):
        return Path(named).expanduser()
    config = Path(env.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    for path in (Path("supergiant.toml"), config / "supergiant" / "settings.toml"):
        if path.is_file():
            return path
    return None


def _read(source: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"settings file {source} does not exist",
            "say another with --settings or SUPERGIANT_SETTINGS, or run `supergiant sandbox up`",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"settings file {source} cannot be read: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"settings file {source} is not valid TOML: {error}") from error


_T = TypeVar("_T")

# The name becomes a part of workflow ids, disk tags and variable names.
_CLUSTER_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")

# A name that the resolver could not even look up would end in its traceback.
_ADDRESS = re.compile(
    r"([\w-]{1,63}(\.[\w-]{1,63})*|\[[0-9a-f:.]+\])?:(?P<port>\d{1,5})", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True)
class _Reader:
    """Turns tables into dataclasses; `base` is what relative paths in the file are relative to."""

    where: str
    base: Path
    env: Mapping[str, str]

    def table(self, section: str, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise SettingsError(f"{self.where}: {section} must be a table, written [{section}]")
        return value

    def section(self, kind: type[_T], section: str, value: object) -> _T:
        return kind(**self._values(kind, section, self.table(section, value), extra=()))

    def cluster(self, name: str, value: object) -> ClusterSettings:
        section = f"clusters.{name}"
        table = self.table(section, value)
        if not _CLUSTER_NAME.fullmatch(name):
            raise SettingsError(
                f"{self.where}: cluster name {name!r} is not valid",
                "use lower-case letters, digits and '-', beginning with a letter, 30 at most",
            )
        cloud = table.get("cloud", "")
        if cloud not in CLOUD_KEYS:
            raise SettingsError(
                f"{self.where}: {section}.cloud: {cloud!r} is not a known cloud",
                f"known: {', '.join(CLOUD_KEYS)}",
            )
        values = self._values(ClusterSettings, section, table, extra=CLOUD_KEYS[cloud])
        if not values["zones"]:
            raise SettingsError(f"{self.where}: {section}.zones is empty; name the zones of its machines")
        options = {key: values.pop(key) for key in CLOUD_KEYS[cloud] if key in values}
        return ClusterSettings(name=name, cloud_options=options, **values)

    def _values(
        self, kind: type[Any], section: str, table: dict[str, Any], extra: tuple[str, ...]
    ) -> dict[str, Any]:
        """The values of one section by key. `extra` are keys besides the fields of `kind`."""
        known = {f.name: f for f in fields(kind) if f.name not in ("name", "cloud_options")}
        for key in table:
            if key not in known and key not in extra:
                raise SettingsError(
                    f"{self.where}: unknown key {section}.{key}", f"known keys: {', '.join([*known, *extra])}"
                )
        values: dict[str, Any] = {}
        for key in (*known, *extra):
            convert = _CONVERTERS[known[key].type] if key in known else _EXTRA.get(key, _text)
            variable = PREFIX + f"{section}_{key}".upper().replace(".", "_").replace("-", "_")
            if variable in self.env:
                values[key] = self._convert(convert, variable, self.env[variable], Path.cwd())
            elif key in table:
                values[key] = self._convert(convert, f"{self.where}: {section}.{key}", table[key], self.base)
            elif key in known and known[key].default is MISSING:
                raise SettingsError(f"{self.where}: {section}.{key} is missing")
        return values

    def _convert(self, convert: "_Converter", place: str, value: object, base: Path) -> Any:
        try:
            return convert(value, base)
        except ValueError as error:
            raise SettingsError(f"{place}: {error}") from None


# A converter gets the value and what a relative path in it is relative to.
_Converter = Callable[[Any, Path], Any]


def _text(value: object, base: Path) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} must be a text in quotes")
    return value


def _address(value: object, base: Path) -> str:
    text = _text(value, base)
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise ValueError(f"{text!r} must be HOST:PORT, such as 127.0.0.1:9465, with a port up to 65535")
    return text


def _number(value: object, base: Path) -> int:
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} must be a whole number above zero")
    return value


def _duration(value: object, base: Path) -> timedelta:
    return timedelta(seconds=seconds(_text(value, base)))


def _path(value: object, base: Path) -> Path:
    text = _text(value, base)
    if not text:
        raise ValueError("the path is empty")
    return base / Path(text).expanduser()


def _texts(value: object, base: Path) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError(f"{value!r} must be a list of texts")
    return tuple(value)


_CONVERTERS: dict[object, _Converter] = {
    str: _text,
    Address: _address,
    int: _number,
    timedelta: _duration,
    timedelta | None: _duration,
    Path | None: _path,
    tuple[str, ...]: _texts,
}

_EXTRA: dict[str, _Converter] = {
    "credentials_file": lambda value, base: str(_path(value, base)),
    "prices_file": lambda value, base: str(_path(value, base)),
}
