"""The stage of the end-to-end tests: one sandbox, one worker behind two proxies, and whoever asks."""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from activities.models.apps import App
from tests.e2e.proxy import Gate, Open, Proxy, to_https, to_plain_http
from tests.sandboxes import CLUSTER, Bench, Said, Sandbox, WorkerProcess, supergiant, write_settings

#: Clusters that the worker is told of and cannot use, for requests that must fail cleanly.
WRONG_KEYS, NO_API_SERVER, WRONG_ACCOUNT = "wrong-keys", "no-api-server", "wrong-account"

_WRITE_AND_WAIT = "date >> /data/starts; trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"


def app_document(name: str, instances: int = 2, **more: Any) -> dict[str, Any]:
    """A small app: instances with a disk each, and a secret. It starts on simulated and on real nodes."""
    component: dict[str, Any] = {
        "name": "db",
        "instances": instances,
        "run_as": 999,
        "secrets": [{"name": "password"}],
        "volumes": [{"name": "data", "size": "2Gi"}],
        "containers": [
            {
                "name": "db",
                "image": "docker.io/library/busybox:1",
                "command": ["sh", "-euc", _WRITE_AND_WAIT],
                "env": {"PASSWORD": {"secret": "password"}},
                "ports": [{"name": "db", "port": 7000}],
                "mounts": [{"volume": "data", "path": "/data"}],
                "cpu": {"request": "10m"},
                "memory": {"request": "32Mi"},
            }
        ],
    }
    return {"app": name, "components": [component | more]}


def small_app(name: str, instances: int = 2, **more: Any) -> App:
    return App.model_validate(app_document(name, instances, **more))


@dataclass
class Stage:
    """`settings` are the worker's; with `sandbox.settings_path` a user sees the one good cluster alone."""

    sandbox: Sandbox
    bench: Bench
    worker: WorkerProcess
    settings: Path
    policy: Path
    proxies: tuple[Proxy, Proxy]
    clearing: list[str] = field(default_factory=list)

    async def reset(self) -> None:
        """As a test may expect it, whatever the one before has left."""
        self.opened()
        self.policy.write_text("")
        if not all(process.healthy for process in self.sandbox.processes()):
            await asyncio.to_thread(self.sandbox.up)
        self.sandbox.admin.clear_faults()
        if not self.worker.runs:
            await self.worker.start()

    def gated(self, gate: Gate) -> None:
        for proxy in self.proxies:
            proxy.gate = gate

    def opened(self) -> None:
        self.gated(Open())

    async def cli(self, *arguments: str, settings: Path | None = None) -> Said:
        return await supergiant(*arguments, settings=settings or self.sandbox.settings_path)

    async def clear(self, *apps: str) -> None:
        """Have apps deleted with their disks, so that the sandbox has room; nobody waits for it."""
        self.clearing += [await self.bench.delete(app, f"clear-{app}"[:40].rstrip("-")) for app in apps]

    async def cleared(self, *apps: str) -> None:
        """The same, and wait until they and all that were cleared before are gone."""
        await self.clear(*apps)
        await self.bench.all_ended(self.clearing)
        self.clearing.clear()


def prepare(sandbox: Sandbox, folder: Path) -> tuple[Path, Path, tuple[Proxy, Proxy]]:
    """Proxies in front of the sandbox's servers, and worker settings and a policy file that name them."""
    kubeconfig = yaml.safe_load(sandbox.kubeconfig.read_text())
    server = str(kubeconfig["clusters"][0]["cluster"]["server"])
    proxies = (
        Proxy(to_https(server, _trust(sandbox))),
        Proxy(to_plain_http(sandbox.endpoint_url)),
    )
    (folder / "wrong-credentials").write_text(
        "[sandbox]\naws_access_key_id = AKIAWRONGWRONGWRONG0\naws_secret_access_key = wrong\n"
    )
    policy = folder / "policy.toml"
    policy.write_text("")
    settings = sandbox.settings
    good = settings["clusters"][CLUSTER] | {
        "kubeconfig": str(_kubeconfig(folder / "proxied", proxies[0].address)),
        "endpoint_url": proxies[1].address,
    }
    settings["policy"] = {"file": str(policy)}
    settings["clusters"] = {
        CLUSTER: good,
        WRONG_KEYS: good | {"credentials_file": str(folder / "wrong-credentials")},
        WRONG_ACCOUNT: good | {"account": "999999999999"},
        # Nothing listens on port 1, and nobody but root may.
        NO_API_SERVER: good | {"kubeconfig": str(_kubeconfig(folder / "closed", "https://127.0.0.1:1"))},
    }
    return write_settings(folder / "worker.toml", settings), policy, proxies


def _trust(sandbox: Sandbox) -> ssl.SSLContext:
    """The administrator's certificate, which the proxy shows in the worker's place."""
    certificates = next(sandbox.layout.kwok.rglob("admin.crt")).parent
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    context.load_cert_chain(certificates / "admin.crt", certificates / "admin.key")
    return context


def _kubeconfig(path: Path, server: str) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxied", "cluster": {"server": server}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "proxied", "context": {"cluster": "proxied", "user": "nobody"}}],
        "current-context": "proxied",
    }
    path.write_text(yaml.safe_dump(document))
    return path


def marks(*more: Any) -> list[Any]:
    """What every module here is marked with: all run on the one event loop and the one sandbox."""
    return [pytest.mark.sandbox, *more]
