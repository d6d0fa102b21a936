"""The real nodes of a sandbox: `sandbox nodes`, `sandbox fault node ...`, `sandbox image ...`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from starter.cli.sandbox_words import explained, json_option, name_option, print_json, print_table, wants_json

if TYPE_CHECKING:
    from sandbox.layout import Layout
    from sandbox.nodes.faults import NodeState

_HELP = {
    "crash": "Take a node's power away; what was not yet written to its disks is lost, and it stays off.",
    "reboot": "Switch a node off if it is on, and on again; returns when its kubelet answers.",
    "cut": "Cut a node's cable: everything on it goes on, and nobody can reach it.",
    "join": "Mend a node's cable.",
    "kill-kubelet": "End the kubelet of a node alone, and keep it from starting; its containers go on.",
    "start-kubelet": "Let the kubelet of a node run again; returns when it answers.",
}


@click.command()
@name_option
@json_option
@click.pass_context
def nodes(ctx: click.Context, name: str, as_json: bool) -> None:
    """The real nodes of a sandbox, and what is broken about them."""
    from sandbox.nodes import faults

    with explained():
        found = faults.states(_existing(name))
    if wants_json(ctx, as_json):
        print_json([_document(state) for state in found])
        return
    print_table(
        ("no", "node", "instance", "zone", "address", "state", "MiB"),
        [
            (
                str(state.number),
                state.name,
                state.instance_id,
                state.zone,
                state.address,
                _spoken(state),
                str(state.memory_mib or "-"),
            )
            for state in found
        ],
    )


@click.group()
def node() -> None:
    """Break a real node, and mend it again. NODE is its number, its name, or its instance's id, as
    `supergiant sandbox nodes` shows them; `sandbox up` mends whatever is broken."""


def _command(effect: str, text: str) -> None:
    @node.command(name=effect, help=text)
    @click.argument("node_name", metavar="NODE")
    @name_option
    @json_option
    @click.pass_context
    def command(ctx: click.Context, node_name: str, name: str, as_json: bool) -> None:
        from sandbox.nodes import faults

        with explained():
            state = faults.EFFECTS[effect](_existing(name), node_name)
        if wants_json(ctx, as_json):
            print_json(_document(state))
        else:
            click.echo(f"{state.name} ({state.zone}): {_spoken(state)}.", err=True)


for _effect, _text in _HELP.items():
    _command(_effect, _text)


@click.group()
def image() -> None:
    """Container images for real nodes, which reach no registry."""


@image.command(name="list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """The images that are made of Debian's packages when they are asked for."""
    from sandbox.nodes import images

    rows = [(name, recipe.reference, name in images.STANDARD) for name, recipe in images.RECIPES.items()]
    if wants_json(ctx, as_json):
        print_json([{"name": n, "reference": r, "on_every_node": always} for n, r, always in rows])
        return
    print_table(
        ("name", "pods call it", "on the nodes"),
        [(n, r, "always" if always else "once loaded") for n, r, always in rows],
    )


@image.command()
@click.argument("wanted", metavar="NAME|ARCHIVE")
@name_option
@json_option
@click.pass_context
def load(ctx: click.Context, wanted: str, name: str, as_json: bool) -> None:
    """Load an image on every real node, those that start later included: one of `sandbox image list` by its
    name, or a file as `docker save` writes it."""
    from sandbox.nodes import loading
    from sandbox.progress import Progress

    with explained():
        references = loading.load(_existing(name), wanted, Progress())
    if wants_json(ctx, as_json):
        print_json({"references": references})
    else:
        for reference in references:
            click.echo(reference)


def _existing(name: str) -> "Layout":
    from sandbox import lifecycle

    return lifecycle.layout_of_existing(name)


def _document(state: "NodeState") -> dict[str, Any]:
    return asdict(state) | {"log": str(state.log)}


def _spoken(state: "NodeState") -> str:
    words = [] if state.is_connected else ["cut off"]
    if not state.has_power:
        return ", ".join(["crashed, without power" if "crashed" in state.faults else "off", *words])
    if "kubelet held" in state.faults:
        words.append("kubelet killed")
    elif state.is_connected and not state.kubelet_answers:
        words.append("kubelet does not answer")
    return ", ".join(words) or "runs"
