"""Brings a sandbox up, takes it down, and tells how it is: a whole cloud on one machine.

The CLI's `sandbox` command and the tests call these functions; each may be called in any state of the
sandbox, also after a crash, and `up` repairs whatever it finds.
"""

import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox import services
from sandbox.binaries.locate import find_binaries
from sandbox.binaries.programs import CONTROL_PLANE, NAME_SERVER, REAL_NODES
from sandbox.errors import NotThere, SandboxError
from sandbox.guard import alone, plain_words
from sandbox.layout import DEFAULT_NAME, Layout, Memory, layout_of, read_memory, write_memory
from sandbox.nodes import fleet, requirements
from sandbox.nodes.network import choose_octet
from sandbox.outputs import write_credentials, write_name_server, write_settings
from sandbox.ports import choose_ports
from sandbox.processes import Processes, end
from sandbox.progress import Progress, Silence
from sandbox.prometheus import prepare as prepare_prometheus
from sandbox.prometheus import program as prometheus_program
from sandbox.startup import Startup

DEFAULT_NODES_PER_ZONE = 2
# Each takes 31 data volumes, so that a sandbox with few nodes holds many components.
DEFAULT_INSTANCE_TYPE = "m7i.2xlarge"


@dataclass(frozen=True)
class ProcessStatus:
    """One line of `sandbox status`."""

    name: str
    pid: int | None
    up_since: float | None
    healthy: bool
    problem: str
    address: str
    memory_mib: int
    log: Path


@dataclass(frozen=True)
class Status:
    """How a sandbox is."""

    name: str
    folder: Path
    settings: Path
    exists: bool
    processes: tuple[ProcessStatus, ...]
    ui_address: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether it exists and every process of it serves."""
        return self.exists and all(process.healthy for process in self.processes)


def up(
    name: str = DEFAULT_NAME,
    *,
    bin_dir: Path | None = None,
    nodes_per_zone: int | None = None,
    real_nodes: int | None = None,
    ui: bool | None = None,
    prometheus: bool | None = None,
    progress: Progress | None = None,
) -> Status:
    """Bring a sandbox up, or repair it; returns when its nodes are Ready. What is None stays as it was.

    Prometheus comes with the first real nodes, unless `prometheus` says otherwise.
    """
    progress = progress or Silence()
    layout = layout_of(name)
    with plain_words(layout), alone(layout, progress):
        before = read_memory(layout)
        if before:
            # A sandbox of another version is refused before anything of it changes.
            services.services(layout, before)
        had = before.real_nodes if before else 0
        real_nodes = max(real_nodes or 0, had)
        if prometheus is None:
            prometheus = bool(before and before.prometheus) or real_nodes > had == 0
        if real_nodes:
            requirements.ensure(layout.folder, progress)
        more = (*REAL_NODES, *NAME_SERVER) if real_nodes else ()
        binaries = find_binaries(bin_dir, progress, programs=(*CONTROL_PLANE, *more))
        if prometheus:
            binaries["prometheus"] = prometheus_program(progress, bin_dir=bin_dir)
        for folder in (layout.folder, layout.logs, layout.processes):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        memory = _remember(layout, before, binaries, nodes_per_zone, real_nodes, ui, prometheus)
        if real_nodes and memory.nodes_per_zone:
            progress.say(
                "Simulated nodes stay beside the real ones: a pod may land on one, where no container runs. For real "
                f"nodes only: `supergiant sandbox down --name {name}`, then up again."
            )
        write_credentials(layout)
        write_settings(layout, memory)
        if real_nodes:
            write_name_server(layout, memory)
            fleet.prepare(layout, progress)
        prepare_prometheus(layout, memory)
        Startup(layout, memory, progress).everything()
    return status(name)


def down(name: str = DEFAULT_NAME, *, keep_state: bool = False) -> bool:
    """End every process, and remove the state unless it is to be kept; False if there was nothing."""
    layout = layout_of(name)
    if not layout.folder.exists():
        return False
    with plain_words(layout), alone(layout, Silence()):
        processes = Processes(layout)
        # It would give nodes their power back.
        processes.kill("hypervisor")
        fleet.switch_off(layout)
        # Whose state goes need not say good-bye.
        number = signal.SIGTERM if keep_state else signal.SIGKILL
        # A process that is just starting another one may be missed by the first look.
        while members := processes.members():
            end(members, number)
        fleet.clear_up(layout)
        layout.csi_socket.unlink(missing_ok=True)
        if not keep_state:
            shutil.rmtree(layout.folder)
            layout.lock.unlink(missing_ok=True)
    return True


def status(name: str = DEFAULT_NAME) -> Status:
    """How a sandbox is, each process asked."""
    layout = layout_of(name)
    memory = read_memory(layout)
    if memory is None:
        return Status(name, layout.folder, layout.settings, False, ())
    processes, found = Processes(layout), services.services(layout, memory)
    with ThreadPoolExecutor(len(found)) as pool:
        lines = tuple(pool.map(lambda service: _ask(layout, processes, service), found.values()))
    ui_address = f"http://127.0.0.1:{memory.ports['temporal-ui']}" if memory.ui else None
    return Status(name, layout.folder, layout.settings, True, lines, ui_address)


def kill(name: str, process: str, number: signal.Signals = signal.SIGKILL) -> bool:
    """End one process as a fault would, and wait until it is gone; False if it was not running."""
    layout, _ = _existing(name, process)
    return Processes(layout).kill(process, number)


def start(name: str, process: str) -> None:
    """Start one process if it is not running, and wait until it serves."""
    layout, memory = _existing(name, process)
    with plain_words(layout), alone(layout, Silence()):
        Startup(layout, memory, Silence()).one(process)


def log_of(name: str, process: str) -> Path:
    """The log file of one process."""
    layout, _ = _existing(name, process)
    return services.log_of(layout, process)


def aws_address(name: str = DEFAULT_NAME) -> str:
    """Where the AWS simulator of a sandbox listens."""
    _, memory = _existing(name, "aws")
    return f"http://127.0.0.1:{memory.ports['aws']}"


def layout_of_existing(name: str = DEFAULT_NAME) -> Layout:
    """The paths of a sandbox that is there."""
    return _existing(name, "aws")[0]


def process_names(name: str = DEFAULT_NAME) -> list[str]:
    """What `kill`, `start` and `log_of` take."""
    layout, memory = _existing(name, "aws")
    return list(services.services(layout, memory))


def _remember(
    layout: Layout,
    before: Memory | None,
    binaries: dict[str, Path],
    nodes_per_zone: int | None,
    real_nodes: int,
    ui: bool | None,
    prometheus: bool,
) -> Memory:
    programs = {program: str(path) for program, path in binaries.items()}
    memory = before
    if memory is None:
        # Simulated nodes beside real ones only if they are asked for.
        simulated = 0 if real_nodes else DEFAULT_NODES_PER_ZONE
        fresh = Memory({}, simulated, DEFAULT_INSTANCE_TYPE, False, programs)

        def remember(ports: dict[str, int]) -> None:
            network = _network(layout, needed=bool(real_nodes))
            write_memory(layout, replace(fresh, ports=ports, network=network))

        choose_ports(layout.folder, remember)
        memory = read_memory(layout) or fresh
    if real_nodes and not memory.network:
        raise SandboxError(
            f"Sandbox {layout.name} was made without a network for real nodes.",
            f"Run `supergiant sandbox down --name {layout.name}` and bring it up again.",
        )
    memory = replace(
        memory,
        nodes_per_zone=memory.nodes_per_zone if nodes_per_zone is None else nodes_per_zone,
        real_nodes=real_nodes,
        ui=memory.ui if ui is None else ui,
        programs=programs,
        prometheus=prometheus,
    )
    write_memory(layout, memory)
    return memory


def _network(layout: Layout, needed: bool) -> int:
    try:
        return choose_octet(layout.folder)
    except SandboxError:
        # Simulated nodes need none: a machine that is full of networks can have those.
        if needed:
            raise
        return 0


def _ask(layout: Layout, processes: Processes, service: services.Service) -> ProcessStatus:
    running = processes.find(service.name)
    log = services.log_of(layout, service.name)
    if running is None:
        return ProcessStatus(service.name, None, None, False, "not running", service.address, 0, log)
    healthy, problem = service.healthy(), ""
    if not healthy:
        complaint = services.complaint(layout, service.name)
        problem = complaint or "does not answer"
    return ProcessStatus(
        service.name,
        running.pid,
        running.started_at,
        healthy,
        problem,
        service.address,
        running.memory_mib,
        log,
    )


def _existing(name: str, process: str) -> tuple[Layout, Memory]:
    layout = layout_of(name)
    memory = read_memory(layout)
    if memory is None:
        raise NotThere(f"There is no sandbox {name!r}.", f"Make it: `supergiant sandbox up --name {name}`.")
    if process not in (known := services.services(layout, memory)):
        raise NotThere(f"A sandbox has no process {process!r}.", f"It has: {', '.join(known)}.")
    return layout, memory
