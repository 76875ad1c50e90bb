"""The cage from outside: keepers are started at a level, given programs one at a time, and replaced when one is doubtful."""

import atexit
import contextlib
import json
import os
import queue
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from gainrl.grading.cage.remote import modules
from gainrl.grading.cage.values import receive, send

Level = Literal["bubblewrap", "landlock", "limits"]
Role = Literal["stream", "functions", "judge"]
MEMORY_BYTES = 1 << 30
"""Address space of a process, of which Python and numpy take a tenth."""
FILE_BYTES = 16 << 20
"""Of one file, and of what a program prints."""
SCRATCH_BYTES = 128 << 20
OPEN_FILES = 64
USER = 65_534
"""Who a program is where it can be given a user of its own: nobody."""
START_SECONDS = 60
"""How long a keeper may take to import what programs import, on a busy machine."""
GRACE_SECONDS = 5.0
"""A keeper that says nothing so long after a process's time is killed with all in it, and replaced."""
PROGRAMS = 2_000
"""A keeper is replaced after so many processes."""
ENVIRONMENT = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
"""All that a program finds in its environment; the same order of a set in every run."""
_LOADER = """
import socket, struct, sys, json, types
link = socket.socket(fileno=0)
def take(size):
    data = b""
    while len(data) < size:
        data += link.recv(size - len(data)) or sys.exit(1)
    return data
content = json.loads(take(struct.unpack(">I", take(4))[0]))
for name, source in content["modules"]:
    sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), vars(sys.modules[name]))
sys.modules[name].serve(link, content["settings"])
"""
"""What the keeper's interpreter is started with: its modules come through the socket, for it sees no file of the suite."""


class Keeper:
    """One process that forks a process for each program. Raises OSError: it cannot be started at this level."""

    def __init__(self, level: Level) -> None:
        self.served = 0
        self.folder = Path(tempfile.mkdtemp(prefix="gainrl-cage-"))
        scratch = self.folder / "scratch"
        scratch.mkdir()
        self.link, theirs = socket.socketpair()
        command = _bubblewrap("/scratch") if level == "bubblewrap" else _interpreter()
        with theirs, tempfile.TemporaryFile() as errors:
            self.process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=errors,
                stderr=errors,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
            theirs.close()
            try:
                send(self.link, {"modules": modules(), "settings": _settings(level, scratch)})
                started = receive(self.link, time.monotonic() + START_SECONDS) == "ready"
            except (OSError, ValueError):
                started = False
            if not started:
                self.close()
                errors.seek(0)
                told = errors.read().decode(errors="replace").strip().splitlines()
                raise OSError(told[-1] if told else "it ends without a word")
        if level == "bubblewrap":
            shutil.rmtree(self.folder)  # its scratch folder lies in memory
        if level == "limits":
            os.chmod(self.folder, 0o711)
            os.chmod(scratch, 0o777)  # a program of another user works there

    def start(self, role: Role, job: int, seconds: float, streams: list[int]) -> None:
        """Fork a process. ``streams``: standard input, standard output, then sockets."""
        self.served += 1
        request = json.dumps({"role": role, "seconds": seconds}).encode() + b"\n"
        self.link.settimeout(GRACE_SECONDS)
        with contextlib.suppress(ConnectionError):  # `wait` tells that the keeper is gone
            socket.send_fds(self.link, [request], [job, *streams])

    def wait(self, seconds: float) -> dict[str, Any] | None:
        """How the process ended (`inside.serve`); None if the keeper did not say so in time, and is closed for it."""
        try:
            ended = receive(self.link, time.monotonic() + seconds + GRACE_SECONDS)
        except (OSError, ValueError):
            ended = None
        if not isinstance(ended, dict):
            self.close()
            return None
        return ended

    def stop(self, patience: float = 0.0) -> dict[str, Any] | None:
        """End the process now, or after so many seconds; how it ended, if it had ended itself."""
        with contextlib.suppress(OSError, ValueError):
            if not select.select([self.link], [], [], patience)[0]:
                self.link.send(b"stop\n")
        return self.wait(0)

    @property
    def usable(self) -> bool:
        return self.served < PROGRAMS and self.link.fileno() >= 0 and self.process.poll() is None

    def close(self) -> None:
        """Kill the keeper and all that it started, and remove its folder."""
        self.link.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(RecursionError):
            shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():  # nested more deeply than Python can follow
            subprocess.run(["rm", "-rf", str(self.folder)], check=False, stderr=subprocess.DEVNULL)


def _settings(level: Level, scratch: Path) -> dict[str, Any]:
    library = Path(os.__file__).parent
    packages = {"site-packages", "dist-packages", "__pycache__"}
    base = Path(sys.base_prefix)
    readable = [str(path) for path in library.iterdir() if path.name not in packages]
    readable += [str(path) for path in (*base.glob("lib/lib*.so*"), *_numpy_folders())]
    readable += [
        "/lib",
        "/lib64",
        "/usr/lib64",
        *glob("/usr/lib/*-linux-gnu*"),
        "/etc/ld.so.cache",
        "/usr/share/zoneinfo",
    ]
    readable += ["/dev/zero", "/dev/urandom", "/dev/random"]
    return {
        "level": level,
        "scratch": "/scratch" if level == "bubblewrap" else str(scratch),
        "scratch_bytes": 0 if level == "bubblewrap" and _can_bound_scratch() else SCRATCH_BYTES,
        "readable": readable,
        "listed": [str(library)],
        "libraries": [str(path.parent) for path in _numpy_folders()[:1]],
        "memory": MEMORY_BYTES,
        "file_size": FILE_BYTES,
        "files": OPEN_FILES,
        "user": USER,
    }


def _numpy_folders() -> list[Path]:
    """The one package that programs and tests find beside the standard library, where it is installed."""
    found = find_spec("numpy")
    if found is None or found.origin is None:
        return []
    folder = Path(found.origin).parent
    return [path for path in (folder, folder.with_name("numpy.libs")) if path.exists()]


def _interpreter() -> list[str]:
    """Python with nothing but its standard library, wherever a virtual environment lies."""
    return [os.path.realpath(sys.executable), "-P", "-s", "-S", "-B", "-c", _LOADER]


def _bubblewrap(scratch: str) -> list[str]:
    """New namespaces of every kind; the interpreter and the system's libraries, read-only; a scratch folder in memory."""
    program = shutil.which("bwrap")
    if program is None:
        raise OSError("bwrap is not installed")
    command = [program, "--unshare-all", "--as-pid-1", "--cap-drop", "ALL", "--uid", str(USER), "--gid", str(USER)]
    command += ["--hostname", "cage", "--clearenv"]
    for name, value in ENVIRONMENT.items():
        command += ["--setenv", name, value]
    libraries = [
        Path(folder)
        for folder in ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo")
    ]
    interpreter = Path(os.path.realpath(sys.executable))
    library = Path(os.__file__).parent
    for path in (*libraries, Path(sys.base_prefix) / "lib", library, interpreter):
        command += ["--ro-bind-try", str(path), str(path)]
    for folder in ("site-packages", "dist-packages"):
        for place in (library / folder, library.parent / "python3" / folder):
            command += ["--tmpfs", str(place)] if place.is_dir() else []
    for path in _numpy_folders():
        command += ["--ro-bind", str(path), str(path)]
    for device in ("null", "zero", "urandom", "random"):
        command += ["--dev-bind-try", f"/dev/{device}", f"/dev/{device}"]
    size = ["--size", str(SCRATCH_BYTES)] if _can_bound_scratch() else []
    return [*command, *size, "--tmpfs", scratch, "--remount-ro", "/", "--chdir", scratch, "--", *_interpreter()]


def _can_bound_scratch() -> bool:
    """bubblewrap 0.8 gives a folder in memory a size."""
    told = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False).stdout
    return "--size" in told


# -- the pool ----------------------------------------------------------------------------------------------------------

_idle: "queue.SimpleQueue[tuple[str, Keeper]]" = queue.SimpleQueue()
_all: set[Keeper] = set()
_lock = threading.Lock()


@contextmanager
def keeper(level: str) -> Iterator[Keeper]:
    """A keeper for one program or one judge: an idle one, or another. Raises OSError: none can be started."""
    mine = None
    with contextlib.suppress(queue.Empty):
        while mine is None:
            of, each = _idle.get_nowait()
            if of == level and each.usable:
                mine = each
            else:
                _retire(each)
    if mine is None:
        mine = Keeper(level)  # type: ignore[arg-type]
        with _lock:
            _all.add(mine)
    try:
        yield mine
    except BaseException:
        _retire(mine)
        raise
    if mine.usable:
        _idle.put((level, mine))
    else:
        _retire(mine)


def _retire(each: Keeper) -> None:
    each.close()
    with _lock:
        _all.discard(each)


@atexit.register
def close() -> None:
    """End this process's keepers."""
    global _idle
    _idle = queue.SimpleQueue()
    for each in list(_all):
        _retire(each)


def _after_fork() -> None:
    """A forked process must neither use its parent's keepers nor keep them alive."""
    global _idle, _all, _lock
    for each in _all:
        each.process.returncode = 0  # the parent's to wait for
        each.link.close()
    _idle, _all, _lock = queue.SimpleQueue(), set(), threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
