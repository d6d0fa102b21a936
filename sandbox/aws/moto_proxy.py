"""Everything of the cloud that the simulator does not keep itself is moto's, run inside this process so that
it dies with it. moto forgets at every start, so what changed it is written down and repeated with the same
random seeds: ids come out the same. Used by `sandbox.aws.simulator` and by the actions that need a network."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sandbox.aws.auth import HttpRequest
from sandbox.aws.errors import unsupported
from sandbox.aws.store import Transaction

log = logging.getLogger(__name__)

# The one zone list that is needed often; known here so that the first disk does not wait for moto to load.
_KNOWN_ZONES = {"us-east-1": [f"us-east-1{letter}" for letter in "abcdef"]}
# A request that changed moto is written down up to this size; larger ones are S3 objects nobody restarts for.
_JOURNAL_MAX_BYTES = 1 << 20
_READS = ("Describe", "Get", "List", "Lookup", "Search", "Verify", "Check", "Filter", "Query", "Scan")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    # True: the connection is closed without a word.
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    id: str
    root_device: str
    architecture: str
    platform: str | None


# Known beside every image moto has, so that a sandbox needs no look-up before its first machine.
SANDBOX_IMAGE = Image("ami-05a9db0c000000001", "/dev/xvda", "x86_64", None)


@dataclass(frozen=True, slots=True)
class LaunchTemplate:
    """A version of a launch template; `data` is what it asks for, in boto3's words."""

    id: str
    version: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subnet:
    id: str
    zone: str
    zone_id: str
    vpc_id: str
    cidr: str
    public_ip: bool


class Moto:
    def __init__(self, account: str, seed: int, journal: Iterable[tuple[int, str]] = ()) -> None:
        self._account = account
        self._seed = seed
        self._journal = list(journal)
        self._last_seq = max((seq for seq, _ in self._journal), default=0)
        self._lock = threading.RLock()
        self._app: Any = None

    def warm_up(self) -> None:
        """Loads moto in the background, so that the simulator is ready before it is."""
        threading.Thread(target=self.ec2, args=("us-east-1",), name="moto", daemon=True).start()

    def zones(self, region: str) -> list[str]:
        return _KNOWN_ZONES.get(region) or [
            zone.name for zone in self.ec2(region).describe_availability_zones()
        ]

    def zone_ids(self, region: str) -> dict[str, str]:
        return {zone.name: zone.zone_id for zone in self.ec2(region).describe_availability_zones()}

    def ec2(self, region: str) -> Any:
        """moto's record of a region's network, images and key pairs."""
        with self._lock:
            self._load()
            from moto.ec2.models import ec2_backends

            self._reseed("ec2", region)
            backends = ec2_backends[self._account]
            if region not in backends.regions:
                raise unsupported(f"The sandbox has no region '{region}'")
            backend = backends[region]
            if SANDBOX_IMAGE.id not in backend.amis:
                _add_sandbox_image(backend)
            return backend

    def image(self, region: str, image_id: str) -> Image | None:
        found = self.ec2(region).amis.get(image_id)
        if found is None:
            return None
        return Image(
            found.id, found.root_device_name or "/dev/xvda", found.architecture or "x86_64", found.platform
        )

    def default_subnet(self, region: str, zone: str) -> Subnet | None:
        subnets = self.ec2(region).subnets.get(zone, {}).values()
        return next((_subnet(item) for item in subnets if item.default_for_az in (True, "true")), None)

    def subnet(self, region: str, subnet_id: str) -> Subnet | None:
        for subnets in self.ec2(region).subnets.values():
            if subnet_id in subnets:
                return _subnet(subnets[subnet_id])
        return None

    def security_groups(self, region: str, vpc_id: str) -> dict[str, str]:
        """Names of a network's security groups by id."""
        return {key: group.name for key, group in self.ec2(region).groups.get(vpc_id, {}).items()}

    def key_pairs(self, region: str) -> set[str]:
        return set(self.ec2(region).key_pairs)

    def launch_template(self, region: str, wanted: dict[str, Any]) -> LaunchTemplate | None:
        backend = self.ec2(region)
        template_id = wanted.get("LaunchTemplateId")
        if template_id is None:
            template_id = backend.launch_template_name_to_ids.get(wanted.get("LaunchTemplateName"))
        template = backend.launch_templates.get(template_id)
        if template is None:
            return None
        number = str(wanted.get("Version", "$Default"))
        if number == "$Latest":
            version = template.latest_version()
        elif number == "$Default":
            version = template.default_version()
        else:
            version = next((item for item in template.versions if str(item.number) == number), None)
        if version is None:
            return None
        # moto holds some texts in a class of its own, which neither JSON nor the store can write.
        data = json.loads(json.dumps(version.data, default=str))
        return LaunchTemplate(template.id, int(version.number), data)

    def serve(
        self, request: HttpRequest, service: str, region: str, action: str, tx: Transaction | None
    ) -> Reply:
        """moto's answer; with a transaction, a change is also written down for the next start."""
        with self._lock:
            if service not in ("iam", "sts", "s3"):
                self.ec2(region)
            changes = not action.startswith((*_READS, "GET ", "HEAD "))
            if changes:
                self._reseed("change", str(self._last_seq + 1))
            else:
                self._reseed(service, region)
            reply = self._call(request)
            if changes and reply.status < 400:
                self._last_seq += 1
                if tx is not None and len(request.body) <= _JOURNAL_MAX_BYTES:
                    body = _written(request, service, region, action)
                    tx.execute("INSERT INTO passed_on (seq, body) VALUES (?, ?)", self._last_seq, body)
            return reply

    def _load(self) -> None:
        with self._lock:
            if self._app is not None:
                return
            from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

            self._app = DomainDispatcherApplication(create_backend_app)
            for seq, body in self._journal:
                entry = json.loads(body)
                request = HttpRequest(
                    method=entry["method"],
                    path=entry["path"],
                    query=entry["query"],
                    headers=entry["headers"],
                    body=base64.b64decode(entry["body"]),
                )
                self._last_seq = seq - 1
                self.serve(request, entry["service"], entry["region"], entry["action"], None)
            self._journal = []

    def _reseed(self, *words: str) -> None:
        from moto.moto_api._internal import mock_random

        digest = hashlib.sha256("/".join((str(self._seed), *words)).encode()).digest()
        mock_random.seed(int.from_bytes(digest[:8], "big"))

    def _call(self, request: HttpRequest) -> Reply:
        from werkzeug.test import EnvironBuilder, run_wsgi_app

        self._load()
        builder = EnvironBuilder(
            method=request.method,
            path=request.path,
            query_string=request.query,
            base_url=f"http://{request.headers.get('host', 'localhost')}",
            headers=[(name, value) for name, value in request.headers.items() if name != "content-length"],
            data=request.body,
        )
        try:
            chunks, status, headers = run_wsgi_app(self._app, builder.get_environ(), buffered=True)
        except Exception as error:
            # moto raises for what it lacks and for parameters it did not expect; neither may end a client's
            # connection, and a 5xx would be retried for nothing.
            log.warning("moto failed: %r", error)
            raise unsupported(f"The sandbox cannot do this: {error}") from error
        kept = {
            name: value for name, value in headers.items() if name.lower() not in ("content-length", "server")
        }
        return Reply(int(status.split()[0]), b"".join(chunks), kept)


def _add_sandbox_image(backend: Any) -> None:
    from moto.ec2.models.amis import Ami

    backend.amis[SANDBOX_IMAGE.id] = Ami(
        backend,
        ami_id=SANDBOX_IMAGE.id,
        name="sandbox",
        description="Runs on every machine type of the sandbox",
        architecture=SANDBOX_IMAGE.architecture,
        virtualization_type="hvm",
        root_device_name=SANDBOX_IMAGE.root_device,
        root_device_type="ebs",
        image_type="machine",
        public=True,
        state="available",
    )


def _subnet(item: Any) -> Subnet:
    return Subnet(
        id=item.id,
        zone=item.availability_zone,
        zone_id=item._availability_zone.zone_id,
        vpc_id=item.vpc_id,
        cidr=item.cidr_block,
        public_ip=item.map_public_ip_on_launch in (True, "true"),
    )


def _written(request: HttpRequest, service: str, region: str, action: str) -> str:
    kept = ("host", "content-type", "authorization", "x-amz-target", "x-amz-date", "content-encoding")
    return json.dumps(
        {
            "service": service,
            "region": region,
            "action": action,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": {name: request.headers[name] for name in kept if name in request.headers},
            "body": base64.b64encode(request.body).decode(),
        }
    )
