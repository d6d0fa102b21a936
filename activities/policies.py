"""Reads the policy file for the outer workflow; the file lies with the worker, where requesters cannot write."""

import tomllib
from pathlib import Path

from pydantic import ValidationError
from temporalio import activity

from activities.errors import InvalidSpec
from activities.models.policies import Policy, ReadPolicy


class PolicyActivities:
    def __init__(self, path: Path | None) -> None:
        self._path = path

    @activity.defn(name="read-policy", no_thread_cancel_exception=True)
    def read_policy(self, request: ReadPolicy) -> Policy:
        """The policy in force; without a file, one that lets everything through. A broken file stops
        everything, because nobody could say what it wanted to forbid."""
        return load_policy(self._path)


def load_policy(path: Path | None) -> Policy:
    if path is None:
        return Policy()
    help_text = "mend the file; the worker reads it anew for each operation"
    try:
        return Policy.model_validate(tomllib.loads(path.read_text()), extra="forbid")
    except FileNotFoundError as error:
        raise InvalidSpec(f"the policy file {path} does not exist", help=help_text) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"the policy file {path} cannot be read: {error}", help=help_text) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidSpec(f"the policy file {path} is not TOML: {error}", help=help_text) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidSpec(
            f"the policy file {path} is wrong at {place}: {first['msg']}", help=help_text
        ) from error
