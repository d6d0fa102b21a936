"""An app and its disks as tables; used by `app show` and `disk list`."""

from collections.abc import Sequence

import click

from activities.models.views import AppView, DiskView
from starter.cli.output import local, write_table


def write_app(app: AppView) -> None:
    click.echo(f"{app.app}  tenant {app.tenant}")
    for component in app.components:
        release = f"release {component.release}" if component.release else "no release recorded"
        click.echo(f"\n{component.component}  {release}  by operation {component.operation}")
        for name, address in component.addresses.items():
            click.echo(f"  {name}: {address}")
        rows = [
            (
                f"  {component.component}-{one.instance}",
                "ready" if one.ready else "not ready",
                one.node or "-",
                one.zone or "-",
                one.address or "-",
                one.restarts,
                one.message,
            )
            for one in component.instances
        ]
        if rows:
            write_table(("  INSTANCE", "STATE", "NODE", "ZONE", "ADDRESS", "RESTARTS", ""), rows)
    if app.disks:
        click.echo()
        write_disks(app.disks)


def write_disks(disks: Sequence[DiskView]) -> None:
    rows = [
        (
            disk.id,
            f"{disk.app}/{disk.component}" + ("" if disk.instance is None else f"-{disk.instance}"),
            disk.blueprint,
            f"{disk.size_gib}Gi",
            disk.type,
            disk.zone,
            disk.state,
            disk.node or disk.machine or "-",
            _kept(disk),
        )
        for disk in disks
    ]
    write_table(("DISK", "OF", "NAME", "SIZE", "TYPE", "ZONE", "STATE", "ATTACHED TO", ""), rows)


def _kept(disk: DiskView) -> str:
    if disk.keep_until is None:
        return ""
    return "kept while it is deleted" if disk.kept_without_end else f"kept until {local(disk.keep_until)}"
