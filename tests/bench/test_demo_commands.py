"""The demo reaches the product by its commands alone; here with commands that need no server."""

from pathlib import Path

import pytest

from sandbox.demo_commands import Supergiant
from sandbox.errors import SandboxError


def test_a_command_s_answer_is_its_json(tmp_path: Path) -> None:
    said: list[str] = []
    recipes = Supergiant(tmp_path / "settings.toml", said.append).ask("recipe", "list")
    assert "redis" in {recipe["name"] for recipe in recipes}


def test_a_command_that_fails_is_an_error_with_the_product_s_own_words(tmp_path: Path) -> None:
    product = Supergiant(tmp_path / "nowhere.toml", lambda line: None)
    with pytest.raises(SandboxError) as caught:
        product.ask("op", "list")
    assert "`supergiant op list` ended with 2" in caught.value.problem
    assert "nowhere.toml does not exist" in caught.value.way_out


def test_what_a_followed_command_tells_is_passed_on_and_its_exit_code_returned(tmp_path: Path) -> None:
    said: list[str] = []
    product = Supergiant(tmp_path / "nowhere.toml", said.append)
    with product.follow("op", "watch", "some-operation") as following:
        code, record = following.result(timeout_seconds=60)
    assert (code, record) == (2, None)
    assert following.ended
    assert any("nowhere.toml does not exist" in line for line in said)


def test_the_user_s_own_variables_do_not_change_what_the_demo_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERGIANT_SETTINGS", "/somewhere/else.toml")
    monkeypatch.setenv("SUPERGIANT_TEMPORAL_ADDRESS", "203.0.113.1:1")
    with pytest.raises(SandboxError) as caught:
        Supergiant(tmp_path / "nowhere.toml", lambda line: None).ask("op", "list")
    assert "nowhere.toml" in caught.value.way_out
