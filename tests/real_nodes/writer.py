"""A client that writes to a Redis without pause, and remembers every write that was acknowledged."""

import base64
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.e2e.pictures import secret_values
from tests.real_nodes.nodes import eventually
from tests.sandboxes import Sandbox

_PAUSE_SECONDS = 0.01
_PATIENCE_SECONDS = 2.0


class Writer:
    """Writes to the first instance by its Service, from the machine and not from a pod."""

    def __init__(self, sandbox: Sandbox, app: str) -> None:
        self._sandbox, self._app = sandbox, app
        [password] = {base64.b64decode(value).decode() for value in secret_values(sandbox, app)}
        self._password = password
        self._acknowledged: dict[str, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.errors: list[str] = []

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def acknowledged(self) -> dict[str, str]:
        """Every key with its value, as of now."""
        return dict(self._acknowledged)

    def until_more(self, count: int = 20, seconds: float = 120.0) -> None:
        """Wait until so many more writes were acknowledged."""
        wanted, deadline = len(self._acknowledged) + count, time.monotonic() + seconds
        while len(self._acknowledged) < wanted:
            assert time.monotonic() < deadline, f"no more writes: {self.errors[-1:]}"
            time.sleep(0.02)

    def lost(self, instance: int = 0) -> list[str]:
        """Acknowledged keys that an instance does not give back as they were written, once it answers."""
        wanted = self.acknowledged
        found = eventually(lambda: self._read(instance, list(wanted)))
        return [key for key, value in wanted.items() if found[key] != value]

    def _read(self, instance: int, keys: list[str]) -> dict[str, str | None]:
        try:
            with self._client(instance) as client:
                return dict(zip(keys, client.mget(keys), strict=True))
        except redis.RedisError as error:
            raise ConnectionError(str(error)) from error

    def _client(self, instance: int) -> "redis.Redis":
        service = self._sandbox.api.get(f"/api/v1/namespaces/{self._app}/services/redis-{instance}")
        address = service["spec"]["clusterIP"]
        if address in ("", "None"):
            pod = self._sandbox.api.get(f"/api/v1/namespaces/{self._app}/pods/redis-{instance}-0")
            address = pod["status"]["podIP"]
        return redis.Redis(
            address,
            password=self._password,
            decode_responses=True,
            socket_timeout=_PATIENCE_SECONDS,
            socket_connect_timeout=_PATIENCE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )

    def _write(self) -> None:
        number, client = 0, None
        while not self._over.wait(_PAUSE_SECONDS):
            number += 1
            key, value = f"key:{number}", f"value-{number}-{time.monotonic_ns()}"
            try:
                client = client or self._client(0)
                if client.set(key, value):
                    self._acknowledged[key] = value
            except (redis.RedisError, OSError, LookupError) as error:
                # Nobody promised anything about this one.
                self.errors.append(f"{key}: {error}")
                if client is not None:
                    client.close()
                client = None
