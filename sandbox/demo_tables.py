"""The demo's tables: pure functions from the product's JSON documents to what rich draws."""

from datetime import datetime

from rich import box
from rich.table import Table

from sandbox.demo_proof import Json, StepRun, disks_of, instances_of


def instances_table(app: Json) -> Table:
    """State, node, zone and address of each instance."""
    table = _table("Instances", "instance", "state", "node", "zone", "address")
    for one in instances_of(app):
        table.add_row(
            f"{one['component']}-{one['instance']}",
            "ready" if one["ready"] else f"not ready: {one['message']}",
            one["node"] or "-",
            one["zone"] or "-",
            one["address"] or "-",
        )
    return table


def disks_table(app: Json) -> Table:
    """Id, owner, size, zone and attachment of each disk."""
    table = _table("Disks", "disk", "of", "size", "zone", "attached to")
    for disk in disks_of(app):
        table.add_row(
            disk["id"],
            f"{disk['component']}-{disk['instance']}/{disk['blueprint']}",
            f"{disk['size_gib']} GiB {disk['type']}",
            disk["zone"],
            disk["node"] or f"nothing ({disk['state']})",
        )
    return table


def steps_table(steps: list[StepRun], operation: Json, killed_pid: int) -> Table:
    """How long each step took, who finished it, and which were interrupted."""
    table = _table("Steps", "step", "took", "attempts", "finished by", "")
    table.columns[1].justify = table.columns[2].justify = "right"
    for step in steps:
        table.add_row(
            step.title,
            f"{step.seconds:.1f} s",
            str(step.attempts),
            step.worker.replace("-", " "),
            f"interrupted in worker {killed_pid}" if step.interrupted else "",
            style="bold yellow" if step.interrupted else "",
        )
    table.add_section()
    total = datetime.fromisoformat(operation["ended_at"]) - datetime.fromisoformat(operation["asked_at"])
    table.add_row("in all, from asking to success", f"{total.total_seconds():.1f} s", "", "", "")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
