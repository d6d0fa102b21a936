"""The policy file: read anew for each operation, strict, and a broken one stops everything."""

from pathlib import Path

import pytest

from activities.errors import InvalidSpec
from activities.policies import load_policy


def test_without_a_file_there_are_no_rules() -> None:
    assert load_policy(None).rules == []


def test_rules_are_read(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[[rules]]\nname = "large"\ndisk_gib_at_least = 1000\napprovers = ["oncall"]\n')
    (rule,) = load_policy(file).rules
    assert (rule.name, rule.disk_gib_at_least, rule.approvers) == ("large", 1000, ["oncall"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rules = 3", "is wrong at rules"),
        ('[[rules]]\nname = "x"\naprovers = []', "is wrong at rules.0.aprovers"),
        ('[[rules]]\nname = "x"\napproval_lives = "soon"', "'soon' is not a duration"),
        ("[[rules", "is not TOML"),
    ],
)
def test_a_broken_file_says_where(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(InvalidSpec, match=says):
        load_policy(file)


def test_a_missing_file_is_an_error_and_not_a_free_pass(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="does not exist"):
        load_policy(tmp_path / "gone.toml")
