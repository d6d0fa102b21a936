"""The documents tell the truth: commands, options, targets, links, keys, states and examples exist as they say."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from activities.models.disk_types import DISK_TYPES
from activities.models.policies import Policy, Rule
from activities.models.quantities import seconds
from activities.models.settings import (
    CLOUD_KEYS,
    ClusterSettings,
    PolicySettings,
    TemporalSettings,
    WorkerSettings,
    load,
)
from sandbox.aws.faults import EFFECTS
from starter import documents
from starter.cli.main import cli
from starter.failures import CATEGORIES, DECLINED
from workflows.models.operations import OperationState

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
GUIDES = DOCS / "guides"
PAGES = sorted(
    page
    for where in (REPOSITORY.glob("*.md"), DOCS.rglob("*.md"), (REPOSITORY / "deploy").rglob("*.md"))
    for page in where
)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))


@each_page
def test_every_command_and_option_exists(page: Path) -> None:
    for line in code_lines(page.read_text()):
        if "kubectl " in line:
            continue  # There `supergiant` is the name of a namespace.
        for words in re.findall(r"(?<![\w./-])supergiant((?: +[^\s|;#`)]+)+)", line):
            check_command(words.split(), line)


@each_page
def test_every_figure_has_been_measured(page: Path) -> None:
    assert "FIGURE" not in page.read_text()


@each_page
def test_every_make_target_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for line in code_lines(page.read_text()):
        if named := re.match(r"\s*(?:\$ )?make ([a-z-]+)", line):
            assert named[1] in targets, line


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    without_code = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_the_two_commands_stand_at_the_top_of_the_readme() -> None:
    top = (REPOSITORY / "README.md").read_text().splitlines()[:6]
    assert [line.split("#")[0].strip() for line in top if line.startswith("    ")] == [
        "make demo",
        "make test",
    ]


def test_every_decision_is_listed() -> None:
    index = (DOCS / "adr" / "README.md").read_text()
    pages = sorted((DOCS / "adr").glob("0*.md"))
    assert re.findall(r"\]\((0\d{3}-[\w-]+\.md)\)", index) == [page.name for page in pages]
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]}: ")
        for part in ("Context", "Decision", "Consequences", "Options not taken"):
            assert f"\n## {part}\n" in text, f"{page.name} lacks {part}"


def test_every_field_of_an_app_document_is_described() -> None:
    schema = json.loads((DOCS / "app-document.schema.json").read_text())
    known = set(schema["properties"])
    for definition in schema["$defs"].values():
        known |= set(definition.get("properties", {}))
    described = keys_of_tables(GUIDES / "app-document.md") - set(DISK_TYPES)
    assert described - {"secret"} == known - {"secret"}
    assert "{secret: NAME}" in (GUIDES / "app-document.md").read_text()


@pytest.mark.parametrize("name", DISK_TYPES)
def test_the_limits_of_a_disk_type_are_those_of_the_code(name: str) -> None:
    limits = DISK_TYPES[name]
    table = (
        (GUIDES / "app-document.md").read_text().partition("| `type` | size in GiB")[2].partition("\n\n")[0]
    )
    (row,) = [row for row in table.splitlines() if f"`{name}`" in row]
    wanted = [f"{limits.min_gib:,} to {limits.max_gib:,}"]
    wanted += [f"{limits.min_iops:,} to {limits.max_iops:,}"] if limits.min_iops else ["cannot be set"]
    wanted += [f"{limits.min_throughput:,} to {limits.max_throughput:,}"] if limits.min_throughput else []
    for text in wanted:
        assert text in row


def test_every_setting_is_described() -> None:
    sections = (TemporalSettings, ClusterSettings, WorkerSettings, PolicySettings)
    known = {f.name for section in sections for f in fields(section)} - {"name", "cloud_options"}
    known |= {key for keys in CLOUD_KEYS.values() for key in keys}
    assert keys_of_tables(GUIDES / "settings.md") == known


@pytest.mark.parametrize("field", fields(WorkerSettings), ids=lambda field: field.name)
def test_the_defaults_of_a_worker_are_those_of_the_code(field: Any) -> None:
    row = re.search(rf"^\| `{field.name}` \| `([^`]+)`", worker_section(), re.MULTILINE)
    assert row
    said = row[1].strip('"')
    if isinstance(field.default, timedelta):
        assert timedelta(seconds=seconds(said)) == field.default
    else:
        assert said == str(field.default)


def test_every_key_of_a_rule_is_described() -> None:
    assert keys_of_tables(GUIDES / "policy.md") == set(Rule.model_fields)


def test_every_state_is_explained() -> None:
    assert {state.value for state in OperationState} <= keys_of_tables(GUIDES / "operations.md")


@pytest.mark.parametrize("state", CATEGORIES)
def test_every_exit_code_is_that_of_the_code(state: str) -> None:
    text = (GUIDES / "operations.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \|(.*)$", text, re.MULTILINE))
    assert f"`{state}`" in rows[str(CATEGORIES[state].exit_code)]


def test_the_exit_code_of_a_cancelled_operation_is_explained() -> None:
    text = (GUIDES / "operations.md").read_text()
    assert re.search(rf"^\| {DECLINED.exit_code} \|.*`undone` after a cancel", text, re.MULTILINE)


def test_every_fault_is_described() -> None:
    assert set(EFFECTS) <= keys_of_tables(GUIDES / "sandbox.md")


def test_examples_of_app_documents_are_valid() -> None:
    examples = fenced(GUIDES / "app-document.md", "yaml")
    assert examples
    for example in examples:
        assert documents.parse(example, "the guide").components
        yaml.safe_load(example)


def test_examples_of_policies_are_valid() -> None:
    examples = [e for e in fenced(GUIDES / "policy.md", "toml") if "[[rules]]" in e]
    assert examples
    for example in examples:
        assert Policy.model_validate(tomllib.loads(example), extra="forbid").rules


def test_examples_of_settings_are_valid(tmp_path: Path) -> None:
    examples = fenced(GUIDES / "settings.md", "toml") + fenced(GUIDES / "your-own-aws.md", "toml")
    settings = [e for e in examples if re.search(r"^\[(clusters|temporal|worker|policy)", e, re.MULTILINE)]
    assert len(settings) == 2
    for number, example in enumerate(settings):
        file = tmp_path / f"{number}.toml"
        file.write_text(example)
        assert load(file, {}).clusters


def check_command(words: list[str], line: str) -> None:
    command: click.Command = cli
    options = options_of(cli)
    arguments = iter(words)
    for word in arguments:
        name = word.partition("=")[0]
        if name.startswith("--"):
            assert name in options, f"no option {name} of {command.name}: {line}"
            if options[name] and "=" not in word:
                next(arguments, None)
        elif isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z-]*", word):
            found = command.get_command(click.Context(command), word)
            assert found is not None, f"no command {word!r}: {line}"
            command, options = found, options_of(cli) | options_of(found)
    assert command is not cli or not re.match(r"[a-z]", words[0]), line


def options_of(command: click.Command) -> dict[str, bool]:
    """The long options of a command, and whether each takes a value."""
    found = {"--help": False, "--version": False}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            found |= dict.fromkeys([*parameter.opts, *parameter.secondary_opts], not parameter.is_flag)
    return found


def code_lines(text: str) -> Iterator[str]:
    """Whatever a page shows as code: fenced blocks, indented lines, and spans within a line."""
    for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
        yield from block.splitlines()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for line in prose.splitlines():
        if line.startswith("    "):
            yield line
        yield from re.findall(r"`([^`]+)`", line)


def keys_of_tables(page: Path) -> set[str]:
    """What stands as code in the first column of the page's tables."""
    cells = re.findall(r"^\| (`[^|]*) \|", page.read_text(), re.MULTILINE)
    return {key for cell in cells for key in re.findall(r"`([^`]+)`", cell)}


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def worker_section() -> str:
    text = (GUIDES / "settings.md").read_text()
    return text.partition("## `[worker]`")[2].partition("\n## ")[0]
