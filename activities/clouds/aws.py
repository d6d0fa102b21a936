"""Amazon EBS behind `Cloud`. The only module that knows boto3; reached through `registry` alone.

Temporal owns all retries: a call is made once, and what goes wrong comes back as one of `activities.errors`.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore import exceptions as sdk
from botocore.config import Config
from botocore.loaders import create_loader
from botocore.parsers import ResponseParserError

from activities.clouds.aws_actions import ACTIONS
from activities.clouds.aws_errors import error_for
from activities.clouds.catalogue import PriceList, read_prices, shipped_prices
from activities.clouds.coalescing import Coalescing
from activities.errors import AccessDenied, InvalidSpec, NotFound, SupergiantError, Unreachable
from activities.models.clusters import AwsSettings
from activities.models.facts import DiskPrice, VolumeQuota
from activities.models.volumes import Volume, VolumeSpec, VolumeState

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import (
        CreateVolumeRequestTypeDef,
        FilterTypeDef,
        TagTypeDef,
        VolumeResponseTypeDef,
        VolumeTypeDef,
    )
    from mypy_boto3_sts import STSClient

#: AWS's limits: values of a filter in one request, and disks on one page.
_FILTER_VALUES = 200
_PAGE = 500

#: Together less than `idempotency.TIME_TO_ACT`, which must cover a whole request.
CONNECT_TIMEOUT_SECONDS = 3.0
READ_TIMEOUT_SECONDS = 20.0

#: The SDK's descriptions of services, read once: EC2's is large, and every session would have its own.
_MODELS = create_loader()

_STATES = {
    "creating": VolumeState.CREATING,
    "available": VolumeState.AVAILABLE,
    "in-use": VolumeState.IN_USE,
    "deleting": VolumeState.DELETING,
    "error": VolumeState.FAILED,
}


def connect(settings: AwsSettings) -> "AwsCloud":
    """An adapter for one account and region. Nothing is asked of AWS before the first call."""
    prices = read_prices(settings.prices_file) if settings.prices_file else shipped_prices("aws")
    return AwsCloud(settings, prices)


@dataclass(frozen=True)
class _Clients:
    ec2: "EC2Client"
    sts: "STSClient"


class AwsCloud:
    """Safe to share between threads. Clients are made when first needed, and again after AWS has refused
    their credentials: so whoever renews them in the file has only to retry the operation."""

    def __init__(self, settings: AwsSettings, prices: PriceList) -> None:
        self._settings = settings
        self._prices = prices
        self._lock = threading.Lock()
        self._clients: _Clients | None = None
        self._by_id: Coalescing[str, Volume | None] = Coalescing(self._get_volumes, _FILTER_VALUES)
        self._by_tags: dict[tuple[str, ...], Coalescing[dict[str, str], list[Volume]]] = {}

    # Disks

    def create_volume(self, token: str, spec: VolumeSpec) -> Volume:
        request: CreateVolumeRequestTypeDef = {
            "AvailabilityZone": spec.zone,
            "ClientToken": token,
            "Size": spec.size_gib,
            "TagSpecifications": [{"ResourceType": "volume", "Tags": _tag_list(spec.tags)}],
            "VolumeType": spec.type,  # type: ignore[typeddict-item]  # checked by the app document
        }
        if spec.iops is not None:
            request["Iops"] = spec.iops
        if spec.throughput is not None:
            request["Throughput"] = spec.throughput
        with self._calling("create a disk") as clients:
            return _volume(clients.ec2.create_volume(**request))

    def find_volumes(self, tags: dict[str, str]) -> list[Volume]:
        if not tags:
            raise ValueError("looking for disks without a tag would find those of everybody")
        keys = tuple(sorted(tags))
        with self._lock:
            asking = self._by_tags.setdefault(keys, Coalescing(self._find_volumes, _FILTER_VALUES))
        return asking.ask(tags)

    def get_volume(self, volume_id: str) -> Volume | None:
        return self._by_id.ask(volume_id)

    def delete_volume(self, volume_id: str) -> None:
        try:
            with self._calling(f"delete disk {volume_id}") as clients:
                clients.ec2.delete_volume(VolumeId=volume_id)
        except NotFound:
            return

    def tag_volumes(self, volume_ids: list[str], tags: dict[str, str]) -> None:
        with self._calling(f"tag disks {', '.join(volume_ids)}") as clients:
            clients.ec2.create_tags(Resources=volume_ids, Tags=_tag_list(tags))

    def untag_volumes(self, volume_ids: list[str], keys: list[str]) -> None:
        # Without a key AWS would take all tags away, and without an id it answers with an error.
        if not keys or not volume_ids:
            return
        for volume_id in volume_ids:
            # One by one, because one id that is gone fails the whole call.
            with contextlib.suppress(NotFound), self._calling(f"untag disk {volume_id}") as clients:
                clients.ec2.delete_tags(Resources=[volume_id], Tags=[{"Key": key} for key in keys])

    # Identity

    def account(self) -> str:
        with self._calling("say whose the credentials are") as clients:
            return clients.sts.get_caller_identity()["Account"]

    # Catalogue

    @property
    def priced_on(self) -> str:
        return self._prices.dated(self._settings.region)

    def disk_prices(self) -> dict[str, DiskPrice]:
        return dict(self._prices.disks)

    def volume_quota(self) -> VolumeQuota:
        """Not known: EBS counts GiB and IOPS per type over the whole region, and what is used of them can
        only be found by listing every disk of the account. A full quota shows when the disk is made."""
        return VolumeQuota()

    # How disks are asked for

    def _get_volumes(self, volume_ids: list[str]) -> list[Volume | None]:
        # By filter and not by id: one id that AWS does not know would fail the request of all.
        found = {volume.id: volume for volume in self._describe({"volume-id": set(volume_ids)})}
        return [found.get(volume_id) for volume_id in volume_ids]

    def _find_volumes(self, wanted: list[dict[str, str]]) -> list[list[Volume]]:
        """Every question names the same keys; the filter takes the values of all, and each picks its own."""
        found = self._describe({f"tag:{key}": {tags[key] for tags in wanted} for key in wanted[0]})
        return [[volume for volume in found if tags.items() <= volume.tags.items()] for tags in wanted]

    def _describe(self, wanted: dict[str, set[str]]) -> list[Volume]:
        filters: list[FilterTypeDef] = [
            {"Name": name, "Values": sorted(_literal(value) for value in values)}
            for name, values in sorted(wanted.items())
        ]
        with self._calling("look for disks") as clients:
            pages = clients.ec2.get_paginator("describe_volumes").paginate(
                Filters=filters, PaginationConfig={"PageSize": _PAGE}
            )
            described = [volume for page in pages for volume in page["Volumes"]]
        volumes = [_volume(volume) for volume in described if volume["State"] != "deleted"]
        return sorted(volumes, key=lambda volume: (str(volume.created_at), volume.id))

    # How AWS is called

    @contextlib.contextmanager
    def _calling(self, doing: str) -> Iterator[_Clients]:
        """The clients, and our errors for what they raise; `doing` follows "AWS would not …"."""
        clients = None
        try:
            clients = self._connected()
            yield clients
        except sdk.ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            said = error.response.get("Error", {})
            ours = error_for(doing, str(said.get("Code", "")), status, str(said.get("Message", "")))
            if isinstance(ours, AccessDenied):
                self._forget(clients)
            raise ours from error
        except (sdk.BotoCoreError, ResponseParserError) as error:
            raise _error_of_sdk(doing, error, self._settings) from error

    def _connected(self) -> _Clients:
        with self._lock:
            if self._clients is None:
                self._clients = _open(self._settings)
            return self._clients

    def _forget(self, refused: _Clients | None) -> None:
        with self._lock:
            if self._clients is refused:
                self._clients = None


def _open(settings: AwsSettings) -> _Clients:
    """Clients from what the settings name; nothing is sent."""
    session = _session(settings)
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        # As many threads as a worker may have, or they would wait for each other's connections.
        max_pool_connections=200,
        retries={"mode": "standard", "total_max_attempts": 1},
        user_agent_extra="supergiant",
        # A proxy for the outside world must not be asked for an address on this machine.
        proxies={} if urlsplit(settings.endpoint_url).hostname in ("127.0.0.1", "::1", "localhost") else None,
    )
    try:
        common: dict[str, Any] = {"config": config, "endpoint_url": settings.endpoint_url or None}
        clients = _Clients(ec2=session.client("ec2", **common), sts=session.client("sts", **common))
    except ValueError as error:
        # botocore's word for an endpoint that is no URL; it names it.
        raise InvalidSpec(str(error), help="Correct endpoint_url in the worker's settings.") from error
    for client in (clients.ec2, clients.sts):
        client.meta.events.register("provide-client-params", _refuse_unlisted)
    return clients


def _session(settings: AwsSettings) -> boto3.Session:
    source = botocore.session.Session()
    source.register_component("data_loader", _MODELS)
    profile = settings.profile or None
    if settings.credentials_file is not None:
        # botocore takes a file that it cannot open for one without credentials.
        if not os.access(settings.credentials_file, os.R_OK):
            problem = "cannot be read" if settings.credentials_file.exists() else "does not exist"
            raise AccessDenied(
                f"the credentials file {settings.credentials_file} {problem}",
                help="Mend that, or correct credentials_file in the worker's settings, then retry.",
            )
        source.set_config_variable("credentials_file", str(settings.credentials_file))
        # A profile that is named keeps keys in the environment from going before the file's.
        profile = profile or "default"
    return boto3.Session(botocore_session=source, profile_name=profile, region_name=settings.region)


def _refuse_unlisted(model: Any, **_: Any) -> None:
    """Keeps the IAM policy complete: what is not in the table cannot be called, not even in a test."""
    action = f"{model.service_model.service_name}:{model.name}"
    if action not in ACTIONS:
        raise RuntimeError(f"{action} is not in aws_actions.ACTIONS, so the IAM policy would not allow it")


def _error_of_sdk(doing: str, error: Exception, settings: AwsSettings) -> SupergiantError:
    """Our error for what the SDK raises without an answer of AWS that it could read."""
    if isinstance(error, sdk.NoCredentialsError | sdk.PartialCredentialsError):
        return AccessDenied(
            f"no AWS credentials were found: {error}",
            help="Name a credentials_file or profile in the worker's settings, or give its machine a role.",
        )
    if isinstance(error, sdk.ProfileNotFound):
        file = settings.credentials_file or "AWS's configuration files"
        return AccessDenied(
            f"there is no profile {settings.profile or 'default'!r} in {file}",
            help="Add the profile, or correct profile in the worker's settings, then retry.",
        )
    if isinstance(error, sdk.ConfigParseError | sdk.ConfigNotFound):
        return AccessDenied(
            str(error), help="Correct credentials_file in the worker's settings, or the file."
        )
    if isinstance(error, sdk.ParamValidationError):
        return InvalidSpec(f"the request to {doing} is not valid: {error}")
    where = settings.endpoint_url or f"AWS in {settings.region}"
    if isinstance(error, sdk.EndpointConnectionError | sdk.ConnectTimeoutError | sdk.ProxyConnectionError):
        return Unreachable(
            f"cannot reach {where}",
            help="Check the network of the worker's machine, and region or endpoint_url in its settings.",
        )
    return Unreachable(f"{where} gave no readable answer when asked to {doing}: {error}")


def _volume(described: "VolumeTypeDef | VolumeResponseTypeDef") -> Volume:
    attached = [a for a in described.get("Attachments", []) if a.get("State") != "detached"]
    return Volume(
        id=described["VolumeId"],
        zone=described["AvailabilityZone"],
        size_gib=described["Size"],
        type=described["VolumeType"],
        # A state that AWS adds later is not one in which a disk may be used.
        state=_STATES.get(described["State"], VolumeState.CREATING),
        iops=described.get("Iops"),
        throughput=described.get("Throughput"),
        machine=attached[0].get("InstanceId", "") if attached else "",
        attached=bool(attached) and attached[0].get("State") == "attached",
        tags={tag["Key"]: tag["Value"] for tag in described.get("Tags", [])},
        created_at=described.get("CreateTime"),
    )


def _tag_list(tags: dict[str, str]) -> "list[TagTypeDef]":
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def _literal(value: str) -> str:
    """A value as EC2's filters take it, in which * and ? stand for any text."""
    return value.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")
