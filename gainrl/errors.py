"""The one exception that stands for a user's mistake: the command line prints it as one line and exits with 2."""

from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used. The message says what is wrong, where, and what would be right."""


def unknown_name(kind: str, name: str, valid: Iterable[str], or_else: str = "") -> InputError:
    """The error for a name that no registry knows; lists the names that would do, and what else would."""
    names = ", ".join(sorted(valid))
    return InputError(f"unknown {kind} {name!r}; valid: {names}{f', or {or_else}' if or_else else ''}")


def one_line(error: BaseException, longest: int = 300) -> str:
    """An error of another library in one line: its kind and the beginning of what it says."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:longest]
