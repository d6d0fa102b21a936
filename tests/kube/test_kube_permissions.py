"""The role that administrators are asked to grant is the one that the code uses."""

from pathlib import Path

import pytest

from activities.kube.kinds import KINDS, allowed_kind
from activities.kube.rbac import as_yaml, cluster_role, permissions

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "your-own-kubernetes.md"


def test_the_guide_shows_the_role_that_the_code_needs() -> None:
    shown = GUIDE.read_text().partition("<!-- generated: cluster role -->\n")[2].partition("<!-- end -->")[0]
    assert shown == f"```yaml\n{as_yaml()}```\n", "run `python -m activities.kube.rbac` and put it there"


def test_the_role_grants_every_permission_and_no_other() -> None:
    granted = {
        (group, plural, verb)
        for rule in cluster_role()["rules"]
        for group in rule["apiGroups"]
        for plural in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {(KINDS[name].group, KINDS[name].plural, verb) for name, verb in permissions()}


def test_nothing_is_granted_that_reads_or_changes_more_than_we_do() -> None:
    assert "patch" not in KINDS["Secret"].verbs
    assert "update" not in KINDS["Secret"].verbs
    assert KINDS["Node"].verbs == {"list"}
    assert all("*" not in verb and verb != "deletecollection" for _, verb in permissions())


@pytest.mark.parametrize(("kind", "verb"), [("Node", "delete"), ("Deployment", "get")])
def test_what_is_not_in_the_table_cannot_be_asked_for(kind: str, verb: str) -> None:
    with pytest.raises(LookupError, match=f"{verb} {kind}"):
        allowed_kind(kind, verb)
