"""Which cage there is: each level is tried by a program that does what it must not, before any other program runs."""

import os
import sys
import tempfile
import threading
from functools import lru_cache
from pathlib import Path
from typing import get_args

from gainrl.errors import InputError
from gainrl.grading.cage import confine
from gainrl.grading.cage.keepers import Level
from gainrl.grading.cage.remote import can_be_asked, is_remote
from gainrl.grading.cage.trials import run_stream

VARIABLE = "GAINRL_SANDBOX"
"""Environment variable that demands a level, or names a remote sandbox by its address; processes inherit it."""
LEVELS: tuple[Level, ...] = get_args(Level)
PROBE = """
import os, socket, sys
canary, folder = sys.stdin.read().split("\\n")
def attempt(what, act):
    try:
        act()
    except OSError:
        return
    print(what)
attempt("reads a file outside", lambda: open(canary).read())
attempt("writes a file outside", lambda: open(os.path.join(folder, "written"), "w").close())
attempt("opens a socket", lambda: socket.socket())
attempt("starts a process", lambda: os.fork() or os._exit(0))
attempt("sends a signal", lambda: os.kill(os.getpid(), 0))
open("own", "w").write("own")
print("done")
"""


_one_at_a_time = threading.Lock()
"""The levels are tried by one thread, and told once."""


def level() -> str:
    """The level in force in this process: the one that `VARIABLE` demands, else the strongest that holds here.

    ``bubblewrap`` and ``landlock`` are sandboxes; ``limits`` is none; an address is a remote one. Said once on stderr.

    Raises InputError: what is demanded cannot be had, or no level can.
    """
    with _one_at_a_time:
        return _choose(os.environ.get(VARIABLE, ""))


def recorded() -> str:
    """The level as the files of a run tell it, which name no host: an address is ``remote``."""
    return "remote" if is_remote(level()) else level()


def demand(name: str | None, *, here: bool = True) -> None:
    """Demand a level for this process and those that it starts, if one is named.

    Args:
        here: programs run on this machine, so try it now; else where they run.

    Raises InputError: as `level` does.
    """
    if name is not None:
        _require_known(name)
        os.environ[VARIABLE] = name
        if here:
            level()


def _require_known(name: str) -> None:
    if not is_remote(name) and name not in LEVELS:
        raise InputError(f"sandbox is {name!r}; valid: {', '.join(LEVELS)}, or the http address of a remote sandbox")
    if is_remote(name) and not can_be_asked(name):
        raise InputError(f"sandbox is {name!r}; an address has a host, and a port from 1 to 65535: http://host:8080")


@lru_cache
def _choose(demanded: str) -> str:
    if demanded:
        _require_known(demanded)
    faults = {}
    for name in (demanded,) if demanded else LEVELS:
        fault = "" if is_remote(name) else weakness(name)
        if not fault:
            is_none = ", which is no sandbox: install bubblewrap, or give a remote sandbox" * (name == "limits")
            print(f"gainrl: programs that models write run in: {name}{is_none}", file=sys.stderr)
            return name
        faults[name] = fault
    told = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
    raise InputError(
        f"no sandbox for programs ({told}); valid: {', '.join(LEVELS)}, or a remote sandbox's http address"
    )


@lru_cache
def weakness(name: Level) -> str:
    """Why a level cannot be had on this machine; empty where it holds what it must."""
    if not confine.has_seccomp():
        return "it needs Linux on x86_64 or aarch64"
    with tempfile.TemporaryDirectory(prefix="gainrl-probe-") as folder:
        canary = Path(folder, "canary")
        canary.write_text("sings")
        os.chmod(folder, 0o777)
        try:
            ending, output = run_stream(name, {"setup": "", "program": PROBE}, f"{canary}\n{folder}", 30.0)
        except OSError as error:
            return f"it does not start: {error.strerror or error}"
    *allowed, last = output.splitlines() or [""]
    if ending.reason is not None or last != "done":
        return f"no program runs in it: {ending.detail or ending.reason}"
    return f"a program {' and '.join(allowed)}" if allowed and name != "limits" else ""


def _after_fork() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
