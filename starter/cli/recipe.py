"""`supergiant recipe`: the app documents that ship with the product."""

import click

from starter import recipes
from starter.cli.context import Context
from starter.cli.options import json_option
from starter.cli.output import write_json, write_table


@click.group(short_help="Ready-made app documents.")
def recipe() -> None:
    """Ready-made app documents, to deploy as they are or to begin with."""


@recipe.command("list")
@json_option
@click.pass_obj
def list_(context: Context) -> None:
    """List the recipes."""
    found = [recipes.get(name) for name in recipes.names()]
    if context.as_json:
        write_json([{"name": one.name, "summary": one.summary} for one in found])
        return
    write_table(("RECIPE", "WHAT IT IS"), [(one.name, one.summary) for one in found])


@recipe.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(context: Context, name: str) -> None:
    """Print a recipe; save it to a file, change it, and deploy that."""
    found = recipes.get(name)
    if context.as_json:
        from starter import documents

        write_json(documents.parse(found.text, f"recipe {name}").model_dump(mode="json"))
        return
    click.echo(found.text, nl=False)
