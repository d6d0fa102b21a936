"""Finds what somebody may not have meant in an app document that is valid; `app deploy` warns of it."""

import re

from activities.models.apps import App, SecretKey

_SECRET_WORDS = {"KEY", "PASSWORD", "SECRET", "TOKEN"}


def readable_secrets(app: App) -> list[str]:
    """The environment variables that are named like a secret and have a value that everybody may read."""
    return [
        f"env {name} of {component.name}/{container.name}"
        for component in app.components
        for container in component.containers
        for name, value in container.env.items()
        if value and not isinstance(value, SecretKey) and _is_named_like_a_secret(name)
    ]


def _is_named_like_a_secret(name: str) -> bool:
    words = [word.removesuffix("S") for word in re.split(r"[^A-Z0-9]+", name.upper())]
    # PASSWORD_FILE says where the secret is, not what it is.
    return words[-1] not in ("FILE", "PATH") and not _SECRET_WORDS.isdisjoint(words)
