"""The exception for a user's mistake: the command line prints it as one line and exits with 2."""

from collections.abc import Iterable


class InputError(ValueError):
    """The user's input cannot be used. The message says what is wrong, where, and what would be right."""


def unknown_name(kind: str, name: str, valid: Iterable[str], or_else: str = "") -> InputError:
    """The error for a name that is not registered; lists the valid names, and what else is valid (``or_else``)."""
    names = ", ".join(sorted(valid))
    return InputError(f"unknown {kind} {name!r}; valid: {names}{f', or {or_else}' if or_else else ''}")


def one_line(error: BaseException, longest: int = 300) -> str:
    """Another library's error as one line: its type and the beginning of its message."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:longest]
