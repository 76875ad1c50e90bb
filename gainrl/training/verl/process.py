"""verl as a process in an environment of its own: found, started, followed to its end, and why it failed."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gainrl.errors import InputError
from gainrl.runs.verl import PYTHON

OWN_PYTHON = Path(".venv-verl/bin/python")
"""What `make verl` installs, looked for in the working directory and beside the package."""
PACKAGES = ("verl", "ray", "torch", "transformers", "vllm", "tensordict", "numpy")
VERSION = "0.9.1"
"""The release of verl that the plug-in hooks into."""
POLL = 0.5
"""Seconds between two looks at the process and its record."""
GRACE = 60.0
"""Seconds that verl has to end, and to end Ray, before it is killed."""
ERROR = re.compile(r"^(?:\S*\s+pid=\S+\)\s+)?(?:[\w.]+\.)?(\w*(?:Error|Exception)): (.+)$")
"""The line that ends a traceback, behind what Ray puts before a worker's lines."""
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def verl_python() -> str:
    """The Python of verl's environment: `PYTHON`'s value, else what `make verl` installs. Raises InputError: neither."""
    if named := os.environ.get(PYTHON):
        if not Path(named).is_file():
            raise InputError(f"{PYTHON} is {named}, which is no file; name the python of verl's environment")
        return named
    for place in (Path.cwd(), Path(__file__).parents[3]):
        if (place / OWN_PYTHON).is_file():
            return str(place / OWN_PYTHON)
    raise InputError(
        f"verl has an environment of its own, which is not here ({OWN_PYTHON}); make verl installs it, "
        "or --verl-python names another"
    )


def versions(python: str) -> dict[str, str]:
    """Versions of the packages in verl's environment. Raises InputError: verl, Ray or the suite is missing there."""
    program = (
        "import json, sys; from importlib.metadata import distributions; from importlib.util import find_spec; "
        "found = {d.name.lower(): d.version for d in distributions() if d.name.lower() in sys.argv[1:]}; "
        "print(json.dumps([found, bool(find_spec('gainrl') and find_spec('gainrl.verl'))]))"
    )
    try:
        result = subprocess.run([python, "-c", program, *PACKAGES], capture_output=True, text=True, check=True)
        found, has_plugin = json.loads(result.stdout.splitlines()[-1])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError) as error:
        raise InputError(f"{python} cannot be asked for its packages: {error}") from error
    missing = [name for name in ("verl", "ray") if name not in found] + ([] if has_plugin else ["gainrl.verl"])
    if missing:
        raise InputError(f"{python} finds no {missing[0]}; make verl installs an environment that has it")
    if found["verl"] != VERSION:
        raise InputError(f"{python} has verl {found['verl']}; the suite's plug-in is for {VERSION}")
    return {name: found[name] for name in PACKAGES if name in found}


@contextmanager
def started(command: Sequence[str], variables: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes into ``log``, ended when the block is left: first asked, later killed with all that it started."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **variables},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with suppress(ProcessLookupError):  # what is left of its session
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def follow(process: "subprocess.Popen[bytes]", look: Callable[[], bool]) -> int | None:
    """Wait for a process, calling ``look`` now and then; its exit code, None if ``look`` said that it is to end."""
    while (code := process.poll()) is None:
        if look():
            return None
        time.sleep(POLL)
    return code


def reason(log: Path, since: int) -> str:
    """Why verl ended: the last error of its log from byte ``since`` on, and the first.

    Raises InputError: the plug-in refused the run.
    """
    with log.open("rb") as file:
        file.seek(since)
        lines = ESCAPES.sub("", file.read().decode(errors="replace")).splitlines()
    errors = [found for line in lines if (found := ERROR.match(line.strip()))]
    for found in errors:
        if found[1] == "InputError":
            raise InputError(found[2])
    said = [f"{found[1]}: {found[2]}" for found in errors if not found[1].startswith("Ray")]
    if not said:
        return "no error in its log"
    return said[-1] if said[0] == said[-1] else f"{said[-1]} (the first error: {said[0]})"
