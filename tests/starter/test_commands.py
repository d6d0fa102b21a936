"""The commands over fake operations: what is asked, what is printed where, and the exit codes."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import cast

import click
import pytest
from starter_fakes import NOW, FakeOperations, a_plan, a_record

from activities.models.clusters import Check, ClusterReport
from activities.models.views import AppList, AppView, ComponentView, DiskView
from starter.cli.context import Context
from starter.cli.main import COMMANDS, cli, run
from starter.failures import BAD_REQUEST, REFUSED, OperationFailed
from starter.listing import OperationRow
from starter.operations import Operations
from starter.snapshots import Snapshot
from workflows.models.operations import Approve, OnFailure, OperationState
from workflows.models.steps import Decide, Decision

SETTINGS = """\
[clusters.east]
cloud = "aws"
account = "1"
region = "us-east-1"
zones = ["a"]
"""


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERGIANT_SETTINGS", str(path))
    return path


@pytest.fixture
def fake() -> FakeOperations:
    return FakeOperations()


@pytest.fixture
def supergiant(fake: FakeOperations) -> Callable[..., int]:
    def call(*args: str) -> int:
        return run(args, Context(opened=cast(Operations, fake)))

    return call


Call = Callable[..., int]
Captured = pytest.CaptureFixture[str]


def there(*apps: str) -> AppList:
    return AppList(apps=[AppView(app=app, tenant="default", components=[], disks=[]) for app in apps])


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sits there."""
    monkeypatch.setattr(Context, "interactive", property(lambda self: True))


def answers(monkeypatch: pytest.MonkeyPatch, yes: bool) -> None:
    monkeypatch.setattr(click, "confirm", lambda *args, **kwargs: yes)


@pytest.mark.parametrize(
    ("state", "fields", "code"),
    [
        (OperationState.SUCCEEDED, {}, 0),
        (OperationState.PLANNED, {}, 0),
        (OperationState.PLANNED, {"plan": a_plan(refused=["no room"])}, 4),
        (OperationState.PLANNED, {"plan": a_plan(refused=["no such zone: mars"])}, 2),
        (OperationState.UNDONE, {}, 1),
        (OperationState.UNDONE, {"cancelled": True}, 5),
        (OperationState.UNDONE_IN_PART, {"left_behind": ["vol-1"]}, 1),
        (OperationState.INVALID, {}, 2),
        (OperationState.PARKED, {}, 3),
        (OperationState.REFUSED, {}, 4),
        (OperationState.DECLINED, {}, 5),
    ],
)
def test_every_end_has_its_exit_code(
    supergiant: Call, fake: FakeOperations, state: OperationState, fields: dict[str, object], code: int
) -> None:
    fake.records = [a_record(state, **fields)]
    assert supergiant("op", "watch", "op-1") == code


def test_a_deploy_in_a_pipe_prints_the_id_and_nothing_else_on_stdout(
    supergiant: Call, fake: FakeOperations, capsys: Captured
) -> None:
    assert supergiant("app", "deploy", "--recipe", "redis", "--reason", "trial", "--as", "eve") == 0
    (request,) = fake.started
    out, err = capsys.readouterr()
    assert out == f"{request.id}\n"
    assert f"supergiant op watch {request.id}" in err
    assert (request.cluster, request.requester, request.reason) == ("east", "eve", "trial")
    assert (request.wait, request.plan_only, request.on_failure) == (True, False, OnFailure.PARK)


def test_the_options_of_a_deploy_reach_the_request(supergiant: Call, fake: FakeOperations) -> None:
    code = supergiant(
        *("app", "deploy", "--recipe", "redis", "--app", "cache", "--id", "mine"),
        *("--no-wait", "--on-failure", "undo"),
    )
    (request,) = fake.started
    assert code == 0
    assert (request.id, request.app, request.wait) == ("mine", "cache", False)
    assert request.on_failure is OnFailure.UNDO
    assert request.deploy is not None
    assert request.deploy.app.app == "cache"


def test_every_option_can_come_from_the_environment(
    supergiant: Call, fake: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERGIANT_APP_DEPLOY_RECIPE", "redis")
    monkeypatch.setenv("SUPERGIANT_APP_DEPLOY_ID", "from-outside")
    monkeypatch.setenv("SUPERGIANT_AS", "robot")
    assert supergiant("app", "deploy") == 0
    assert (fake.started[0].id, fake.started[0].requester) == ("from-outside", "robot")


def test_the_names_of_variables_follow_the_names_of_options() -> None:
    for name in COMMANDS:
        group = cli.get_command(click.Context(cli), name)
        assert group is not None
        for command in group.commands.values() if isinstance(group, click.Group) else [group]:
            for option in command.params:
                if isinstance(option, click.Option) and option.name != "as_json" and not option.envvar:
                    longest = max(option.opts, key=len).removeprefix("--").replace("-", "_")
                    assert option.name == longest, f"{name} {command.name} {option.opts}"


def test_a_plan_is_printed_and_nothing_is_started_but_the_plan(
    supergiant: Call, fake: FakeOperations, capsys: Captured
) -> None:
    assert supergiant("app", "deploy", "--recipe", "redis", "--plan") == 0
    assert [request.plan_only for request in fake.started] == [True]
    out = capsys.readouterr().out
    assert "1. make namespace shop" in out
    assert "USD 0.00 → 2.40 a month" in out


def test_a_plan_that_no_worker_makes_is_not_waited_for_for_ever(
    supergiant: Call, fake: FakeOperations, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def watch(operation: str) -> AsyncIterator[Snapshot]:
        for _ in range(100):
            yield Snapshot(a_record(OperationState.PLANNING), note="no worker polls")

    monkeypatch.setattr(fake, "watch", watch)
    monkeypatch.setattr("starter.answers.ANSWER_WITHIN", timedelta(0))
    assert supergiant("app", "deploy", "--recipe", "redis", "--plan") == 2
    said = capsys.readouterr().err
    assert "no worker polls" in said
    assert "no worker answered" in said


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_the_plan_is_agreed_to_first(
    supergiant: Call, fake: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, yes=True)
    assert supergiant("app", "deploy", "--recipe", "redis", "--id", "mine") == 0
    plan, request = fake.started
    assert (plan.plan_only, request.plan_only, request.id) == (True, False, "mine")
    assert plan.deploy == request.deploy
    assert request.agreed == a_plan().agreement


@pytest.mark.usefixtures("terminal")
def test_a_plan_that_is_not_agreed_to_is_not_carried_out(
    supergiant: Call, fake: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, yes=False)
    assert supergiant("app", "deploy", "--recipe", "redis") == 5
    assert all(request.plan_only for request in fake.started)


@pytest.mark.usefixtures("terminal")
def test_an_id_that_is_known_is_neither_planned_nor_asked_about_again(
    supergiant: Call, fake: FakeOperations, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    answers(monkeypatch, yes=False)
    fake.asked_before = True
    assert supergiant("app", "deploy", "--recipe", "redis", "--id", "mine") == 0
    assert [request.plan_only for request in fake.started] == [False]
    assert "this is the same one" in capsys.readouterr().err


@pytest.mark.usefixtures("terminal")
def test_a_plan_with_nothing_to_do_is_not_asked_about_and_ends_at_once(
    supergiant: Call, fake: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, yes=False)
    nothing = a_plan(components=[])
    fake.plan = a_record(OperationState.PLANNED, plan=nothing)
    assert supergiant("app", "deploy", "--recipe", "redis") == 0
    assert [request.plan_only for request in fake.started] == [True, False]
    assert fake.started[1].agreed == nothing.agreement


@pytest.mark.usefixtures("terminal")
def test_a_plan_that_is_refused_is_not_asked_about(supergiant: Call, fake: FakeOperations) -> None:
    fake.plan = a_record(OperationState.PLANNED, plan=a_plan(refused=["no room"]))
    assert supergiant("app", "deploy", "--recipe", "redis") == 4
    assert all(request.plan_only for request in fake.started)


def test_a_delete_that_nobody_can_be_asked_about_needs_a_yes(supergiant: Call, fake: FakeOperations) -> None:
    fake.answers["view-apps"] = there("shop")
    assert supergiant("app", "delete", "shop") == 2
    assert not fake.started
    assert supergiant("app", "delete", "shop", "--yes", "--component", "db", "--delete-disks") == 0
    (request,) = fake.started
    assert request.delete is not None
    assert (request.delete.components, request.delete.delete_disks) == (["db"], True)


@pytest.mark.parametrize("how", ["--yes", "--plan"])
def test_an_app_that_is_not_there_cannot_be_deleted(
    supergiant: Call, fake: FakeOperations, capsys: Captured, how: str
) -> None:
    fake.answers["view-apps"] = there()
    assert supergiant("app", "delete", "nosuch", how) == 2
    assert "there is no app 'nosuch' on east, so there is nothing to delete" in capsys.readouterr().err
    assert not fake.started


def test_a_delete_said_again_gives_the_first_result_though_the_app_is_gone(
    supergiant: Call, fake: FakeOperations
) -> None:
    fake.answers["view-apps"] = there()
    fake.asked_before = True
    assert supergiant("app", "delete", "shop", "--yes", "--id", "mine", "--watch") == 0
    assert [request.id for request in fake.started] == ["mine"]


def test_a_delete_waits_for_a_worker_where_none_can_say_what_is_there(
    supergiant: Call, fake: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody() -> bool:
        return False

    monkeypatch.setattr(fake, "worker_there", nobody)
    assert supergiant("app", "delete", "shop", "--yes") == 0
    assert len(fake.started) == 1


DOCUMENT = """\
app: shop
components:
  - name: db
    secrets:
      - name: password
    containers:
      - name: main
        image: redis:7
        env:
          MODE: cluster
          MONKEY: "1"
          DB_PASSWORD: hunter2
          API_TOKENS: abc
          EMPTY_SECRET: ""
          TLS_KEY_FILE: /etc/tls.key
          REDIS_PASSWORD:
            secret: password
"""


def test_a_deploy_warns_of_what_looks_like_a_secret_and_says_the_way_out(
    supergiant: Call, fake: FakeOperations, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "shop.yaml").write_text(DOCUMENT)
    assert supergiant("app", "deploy", "-f", "shop.yaml") == 0
    assert len(fake.started) == 1
    out, err = capsys.readouterr()
    warnings = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert [line.split()[1:5] for line in warnings] == [
        ["env", "DB_PASSWORD", "of", "db/main"],
        ["env", "API_TOKENS", "of", "db/main"],
    ]
    assert all("{secret: NAME}" in line for line in warnings)
    assert "hunter2" not in out + err


def test_a_request_known_already_is_said_to_be(
    supergiant: Call, fake: FakeOperations, capsys: Captured
) -> None:
    fake.asked_before = True
    assert supergiant("app", "deploy", "--recipe", "redis", "--id", "mine") == 0
    assert "this is the same one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["app", "deploy"], "say what to deploy"),
        (["app", "deploy", "--recipe", "nope"], "no recipe named 'nope'"),
        (["app", "deploy", "-f", "none.yaml"], "file none.yaml does not exist"),
        (["app", "deploy", "--recipe", "redis", "--id", "No Good"], "use 1 to 40 lower-case letters"),
        (["app", "deploy", "--recipe", "redis", "--app", "No_Good"], "name 'No_Good' is not valid"),
        (["app", "deploy", "--recipe", "redis", "--cluster", "west"], "no cluster named 'west'"),
        (["--settings", "none.toml", "app", "list"], "settings file none.toml does not exist"),
        (["app", "show", "No_Good"], "name 'No_Good' is not valid"),
        (["op", "approve", "op-1"], "Missing option '--reason'"),
        (["op", "approve", "op-1", "--reason", " "], "an approval needs a reason"),
        (["app", "deploy", "--recipe", "redis", "--as", ""], "say a name"),
        (["op", "cancel", "op-1", "--as", " "], "say a name"),
        (["op", "list", "--limit", "0"], "0 is not in the range"),
        (["nope"], "No such command 'nope'"),
    ],
)
def test_a_bad_request_is_one_line_and_exit_code_2(
    supergiant: Call, fake: FakeOperations, capsys: Captured, args: list[str], message: str
) -> None:
    assert supergiant(*args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ")
    assert message in err.splitlines()[0]
    assert not fake.started


def test_two_clusters_need_a_choice(supergiant: Call, settings: Path, capsys: Captured) -> None:
    settings.write_text(SETTINGS + SETTINGS.replace("east", "west"))
    assert supergiant("app", "deploy", "--recipe", "redis") == 2
    assert "which cluster?" in capsys.readouterr().err
    assert supergiant("--cluster", "west", "app", "deploy", "--recipe", "redis") == 0
    assert supergiant("app", "deploy", "--recipe", "redis", "--cluster", "east") == 0


def test_a_failure_is_printed_with_what_to_do(
    supergiant: Call, fake: FakeOperations, capsys: Captured
) -> None:
    fake.fail = OperationFailed(BAD_REQUEST, "Temporal cannot be reached", "start it")
    assert supergiant("op", "list") == 2
    assert capsys.readouterr().err == "Error: Temporal cannot be reached\n  → start it\n"


def test_an_error_that_nobody_foresaw_is_a_line_and_only_on_request_a_traceback(
    supergiant: Call, fake: FakeOperations, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    fake.fail = KeyError("cancelled")
    assert supergiant("op", "list") == 3
    err = capsys.readouterr().err
    assert err.startswith("Error: something went wrong that nobody foresaw: KeyError: 'cancelled'\n")
    assert "SUPERGIANT_DEBUG=1" in err
    assert "Traceback" not in err
    monkeypatch.setenv("SUPERGIANT_DEBUG", "1")
    assert supergiant("op", "list") == 3
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_stops_the_watching_and_not_the_operation(
    supergiant: Call, fake: FakeOperations, capsys: Captured
) -> None:
    fake.interrupt = True
    assert supergiant("app", "deploy", "--recipe", "redis", "--id", "mine", "--watch") == 130
    err = capsys.readouterr().err
    assert "operation mine goes on" in err
    assert "supergiant op cancel mine" in err
    assert not fake.said


def test_an_approval_needs_the_hash_of_the_plan_that_was_seen(
    supergiant: Call, fake: FakeOperations, capsys: Captured
) -> None:
    fake.records = [a_record(OperationState.WAITING_FOR_APPROVAL)]
    assert supergiant("op", "approve", "op-1", "--reason", "fine") == 2
    assert a_plan().hash in capsys.readouterr().err
    assert not fake.said
    assert supergiant("op", "approve", "op-1", "--reason", "fine", "--plan-hash", "abc", "--as", "eve") == 0
    assert fake.said == [("op-1", "approve", Approve(by="eve", reason="fine", plan_hash="abc"))]


def test_an_approval_with_a_yes_takes_the_plan_as_it_is(supergiant: Call, fake: FakeOperations) -> None:
    fake.records = [a_record(OperationState.WAITING_FOR_APPROVAL)]
    assert supergiant("op", "approve", "op-1", "--reason", "fine", "-y", "--as", "eve") == 0
    assert fake.said == [("op-1", "approve", Approve(by="eve", reason="fine", plan_hash=a_plan().hash))]


def test_a_refused_word_has_exit_code_4(supergiant: Call, fake: FakeOperations) -> None:
    fake.fail = OperationFailed(REFUSED, "past the point of no return")
    assert supergiant("op", "cancel", "op-1") == 4


@pytest.mark.parametrize("decision", list(Decision))
def test_the_decisions_about_a_parked_operation(
    supergiant: Call, fake: FakeOperations, decision: Decision
) -> None:
    assert (
        supergiant("op", decision.value, "op-1", "--reason", "mended", "--as", "eve", "--step", "db/x") == 0
    )
    message = Decide(decision=decision, by="eve", reason="mended", step="db/x")
    assert fake.said == [("op-1", "decide", message)]


def test_json_is_one_document_wherever_the_option_stands(
    supergiant: Call, fake: FakeOperations, capsys: Captured
) -> None:
    fake.rows = [OperationRow("op-1", "deploy", "running", "east", "shop", ("db",), "ada", NOW, None)]
    for args in (["--json", "op", "list"], ["op", "list", "--json"]):
        assert supergiant(*args) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert (row["id"], row["components"], row["ended_at"]) == ("op-1", ["db"], None)
    assert supergiant("op", "show", "op-1", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["exit_code"], shown["plan_hash"]) == ("succeeded", 0, a_plan().hash)


def test_show_says_where_it_stands_and_what_a_cancel_would_do(
    supergiant: Call, fake: FakeOperations, capsys: Captured
) -> None:
    fake.records = [a_record(OperationState.QUEUED, behind="op-0")]
    assert supergiant("op", "show", "op-1") == 0
    out = capsys.readouterr().out
    assert "queued behind operation op-0" in out
    assert "would end it, with nothing touched" in out


def test_what_is_left_behind_is_said_with_what_to_do(
    supergiant: Call, fake: FakeOperations, capsys: Captured
) -> None:
    fake.records = [
        a_record(
            OperationState.UNDONE_IN_PART,
            explanation="the disk is in use",
            left_behind=["delete disk data of db-0: vol-1 is in use"],
            help="detach it",
        )
    ]
    assert supergiant("op", "watch", "op-1") == 1
    out = capsys.readouterr().out
    assert "the disk is in use" in out
    assert "left behind: delete disk data of db-0: vol-1 is in use" in out
    assert "→ detach it" in out


def test_apps_and_disks_are_shown_as_tables(supergiant: Call, fake: FakeOperations, capsys: Captured) -> None:
    disk = DiskView(
        id="vol-1",
        app="shop",
        component="db",
        instance=0,
        blueprint="data",
        size_gib=10,
        type="gp3",
        zone="a",
        state="in-use",
        node="n1",
    )
    component = ComponentView(
        component="db", release=1, operation="op-1", instances=[], addresses={"any": "db.shop"}
    )
    app = AppView(app="shop", tenant="default", components=[component], disks=[disk])
    fake.answers["view-apps"] = AppList(apps=[app])
    for args in (["app", "list"], ["app", "show", "shop"], ["disk", "list"]):
        assert supergiant(*args) == 0
    out = capsys.readouterr().out
    assert "any: db.shop" in out
    assert out.count("vol-1  shop/db-0  data  10Gi") == 2
    fake.answers["view-apps"] = AppList(apps=[])
    assert supergiant("app", "show", "shop") == 2


def test_a_cluster_that_fails_a_check_makes_the_check_and_the_doctor_fail(
    supergiant: Call, fake: FakeOperations, capsys: Captured
) -> None:
    good = Check(name="API server", ok=True, detail="v1.37")
    bad = Check(name="credentials", ok=False, detail="expired", help="renew them")
    fake.answers["check-cluster"] = ClusterReport(cluster="east", checks=[good])
    assert supergiant("cluster", "check") == 0
    assert supergiant("doctor") == 0
    fake.answers["check-cluster"] = ClusterReport(cluster="east", checks=[good, bad])
    assert supergiant("cluster", "check", "east") == 1
    capsys.readouterr()
    assert supergiant("doctor") == 1
    out = capsys.readouterr().out
    assert "✓ cluster east: API server: v1.37" in out
    assert "✗ cluster east: credentials: expired\n    → renew them" in out


def test_the_doctor_says_what_to_do_without_any_settings(
    supergiant: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.delenv("SUPERGIANT_SETTINGS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nowhere"))
    assert supergiant("doctor") == 1
    assert "there is no settings file" in capsys.readouterr().out


def test_the_worker_replaces_the_process_and_knows_the_settings(
    supergiant: Call, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda program, args: replaced.append([program, *args]))
    monkeypatch.setenv("SUPERGIANT_SETTINGS", "something else")
    assert supergiant("--settings", str(settings), "worker") == 0
    assert replaced == [[sys.executable, sys.executable, "-m", "workers.main"]]
    assert os.environ["SUPERGIANT_SETTINGS"] == str(settings)
