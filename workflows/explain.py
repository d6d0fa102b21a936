"""A failure in its own words: the innermost cause, and the help that our errors carry. Pure."""

from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError


def explain(failure: BaseException) -> str:
    """What went wrong, without the wrapping; says so if we only gave up waiting for it."""
    innermost = _innermost(failure)
    text = str(innermost)
    if isinstance(innermost, ApplicationError):
        text = innermost.message
        if innermost.type == "NotReadyYet":
            return f"gave up waiting: {text}"
    if isinstance(innermost, TimeoutError):
        return f"no answer in time ({text})"
    return text


def help_of(failure: BaseException) -> str:
    """What to do about it, as the activity said; empty when it did not."""
    return str(_detail(failure, "help") or "")


def touched_nothing(failure: BaseException) -> bool:
    """Whether the activity knows that it changed nothing before it failed."""
    return bool(_detail(failure, "untouched"))


def kind_of(failure: BaseException) -> str:
    """The type name of our error, such as "AccessDenied"; empty for any other."""
    innermost = _innermost(failure)
    return innermost.type or "" if isinstance(innermost, ApplicationError) else ""


def _detail(failure: BaseException, key: str) -> object:
    innermost = _innermost(failure)
    if isinstance(innermost, ApplicationError):
        for detail in innermost.details:
            if isinstance(detail, dict) and key in detail:
                return detail[key]
    return None


def _innermost(failure: BaseException) -> BaseException:
    while failure.__cause__ is not None and isinstance(
        failure, ActivityError | ApplicationError | TimeoutError
    ):
        failure = failure.__cause__
    return failure
