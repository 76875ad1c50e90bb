"""The keeper, which runs inside of the cage: it has imported what programs import, and forks a process for each.

A process takes from itself what a program must not have (`confine`), then does one of three things: it runs a program on its
standard input, it answers for the functions of a program, or it executes tests against those functions. A program and
the tests of it are never in one process. When a process is over, whatever it left is killed and removed before the next one.
Imports the standard library alone (see `values`).
"""

import ast
import atexit
import builtins
import contextlib
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any

from gainrl.grading.cage import confine
from gainrl.grading.cage.values import FromProgram, Program, decode, encode, receive, send

COMMON = (
    "array", "bisect", "calendar", "cmath", "collections", "contextlib", "copy", "csv", "dataclasses", "datetime", "decimal",
    "enum", "fractions", "functools", "hashlib", "heapq", "io", "itertools", "json", "math", "numbers", "operator", "queue",
    "random", "re", "statistics", "string", "struct", "textwrap", "threading", "time", "typing",
)  # fmt: skip
"""Modules of the standard library that programs import; others are read when they are."""
LOOK_SECONDS = 0.1
"""How often the scratch folder is measured, where the system does not bound it."""
MOST_ENTRIES = 10_000
"""Of the scratch folder, likewise."""
LONGEST_PATH = 1_000
"""Characters, likewise: folders in folders without end."""


def serve(link: socket.socket, settings: dict[str, Any]) -> None:
    """Fork a process for each request until the other side ends, or something is left that cannot be cleared away.

    A request is one line of JSON with descriptors: the job, standard input and output, then sockets. An answer is a frame
    with how the process ended: ``exit`` and its code, ``signal`` and its number, ``time``, ``scratch`` (full), ``stopped``.
    """
    confine.hide_memory()
    confine.adopt_orphans()
    _import_common(settings["libraries"])
    rules = None
    if settings["level"] == "landlock":
        rules = confine.make_rules(settings["readable"], settings["listed"], settings["scratch"])
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    gc.collect()
    gc.freeze()
    send(link, "ready")
    while True:
        lines: bytes = b""
        descriptors: list[int] = []
        with contextlib.suppress(ConnectionError):
            lines, descriptors, _, _ = socket.recv_fds(link, 4096, 8)
        if not lines:
            _leave(settings)
        if not descriptors:  # a stop that came when its process had just ended
            continue
        request, keeper = json.loads(lines.splitlines()[-1]), os.getpid()
        child = os.fork()
        if child == 0:
            try:
                _become(keeper, request, descriptors, settings, rules)
            finally:
                os._exit(70)
        for descriptor in descriptors:
            os.close(descriptor)
        ended = _wait(child, request["seconds"], link, woken, settings)
        try:
            _end_processes(child)
            _empty(settings["scratch"])
        except OSError:
            os._exit(1)  # whoever asked takes another keeper
        with contextlib.suppress(ConnectionError):  # whoever asked is gone: the next turn leaves
            send(link, ended)


def _import_common(libraries: list[str]) -> None:
    """Also numpy, from the folder that holds it, which is not searched later: other packages lie there too."""
    for name in COMMON:
        importlib.import_module(name)
    sys.path[:0] = libraries
    with contextlib.suppress(ImportError):
        for name in ("numpy", "numpy.linalg", "numpy.random"):
            importlib.import_module(name)
    del sys.path[: len(libraries)]


# -- the keeper, while a process runs ----------------------------------------------------------------------------------


def _wait(child: int, seconds: float, link: socket.socket, woken: int, settings: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        state = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if state is not None:
            return {"ended": "exit" if state.si_code == os.CLD_EXITED else "signal", "number": state.si_status}
        if time.monotonic() > deadline:
            return {"ended": "time"}
        if settings["scratch_bytes"] and _is_full(settings["scratch"], settings["scratch_bytes"]):
            return {"ended": "scratch"}
        channels: list[Any] = [link, woken]
        ready, _, _ = select.select(channels, [], [], min(LOOK_SECONDS, max(deadline - time.monotonic(), 0.001)))
        if woken in ready:
            os.read(woken, 4096)
        if link in ready:
            with contextlib.suppress(ConnectionError):
                if link.recv(4096):
                    return {"ended": "stopped"}
            _end_processes(child)
            _leave(settings)


def _leave(settings: dict[str, Any]) -> None:
    """End, and leave no folder: whoever started this may have been killed."""
    with contextlib.suppress(OSError):
        _empty(settings["scratch"])
        os.chdir("/")
        os.rmdir(settings["scratch"])
        os.rmdir(os.path.dirname(settings["scratch"]))
    os._exit(0)


def _end_processes(child: int) -> None:
    """Kill the process, its group and whatever descends from it. Raises OSError if something survives."""
    for _ in range(2_000):
        for target in [-1] if os.getpid() == 1 else [-child, *_children()]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(target, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(0.0005)
            continue
        return
    raise OSError("a process survives")


def _children() -> list[int]:
    """This process's children; orphans of its descendants are among them (`confine.adopt_orphans`)."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == os.getpid():
                    found.append(int(name))
    return found


def _is_full(folder: str, most: int) -> bool:
    """Whether the files within have more bytes than that, are too many, or lie too deep."""
    folders, entries, size = [folder], 0, 0
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as inside:
            for entry in inside:
                entries += 1
                size += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                if size > most or entries > MOST_ENTRIES or len(entry.path) > LONGEST_PATH:
                    return True
    return False


def _empty(folder: str) -> None:
    """Remove what is in a folder, however deep: from within, so that neither paths nor calls are nested."""
    os.chdir(folder)
    names: list[str] = []
    folders = [_remove_files()]
    while folders:
        if folders[-1]:
            names.append(folders[-1].pop())
            os.chmod(names[-1], 0o700)  # a program may have closed it
            os.chdir(names[-1])
            folders.append(_remove_files())
        else:
            folders.pop()
            if names:
                os.chdir("..")
                os.rmdir(names.pop())


def _remove_files() -> list[str]:
    """Of the folder that this process is in; the names of the folders there."""
    folders = []
    for entry in list(os.scandir(".")):
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.name)
        else:
            os.unlink(entry.name)
    return folders


# -- the process that is forked ----------------------------------------------------------------------------------------


def _become(
    keeper: int, request: dict[str, Any], descriptors: list[int], settings: dict[str, Any], rules: int | None
) -> None:
    """Give up everything, then do the job; ends the process."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    job_file, *streams = descriptors
    with open(job_file, encoding="utf-8") as file:
        job = json.load(file)
    os.chdir(settings["scratch"])
    links = _place(streams)
    if settings["level"] == "limits":
        confine.leave_root(settings["user"])
        confine.forbid_processes()
    confine.die_with_parent()
    if os.getppid() != keeper:
        os._exit(0)
    confine.hide_memory()
    if settings["level"] != "limits":
        confine.drop_privileges()
    if rules is not None:
        confine.restrict_files(rules)
    os.closerange(3 + len(links), 65_536)
    confine.limit_resources(request["seconds"], settings["memory"], settings["file_size"], settings["files"])
    if settings["level"] != "limits":
        confine.refuse_system_calls()
    _settle()
    roles: dict[str, Callable[..., None]] = {"stream": run_stream, "functions": answer, "judge": judge}
    roles[request["role"]](job, *links)


def _place(streams: list[int]) -> list[socket.socket]:
    """Standard input and output, no errors, then the sockets, at the descriptors that follow."""
    high = [os.dup2(descriptor, 100 + place) for place, descriptor in enumerate(streams)]
    silence = os.open(os.devnull, os.O_WRONLY)
    high.insert(2, os.dup2(silence, 100 + len(streams)))
    for place, descriptor in enumerate(high):
        os.dup2(descriptor, place)
    return [socket.socket(fileno=place) for place in range(3, len(high))]


def _settle() -> None:
    """The state that a fresh interpreter would have, the same in every run."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "gainrl"]:
        del sys.modules[name]
    sys.argv = ["program.py"]
    standard_input = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    standard_output = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    vars(sys).update(stdin=standard_input, __stdin__=standard_input, stdout=standard_output, __stdout__=standard_output)
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)


def _load(job: dict[str, Any], name: str) -> dict[str, Any]:
    """Execute the setup and the program as one module; its names."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    for part in ("setup", "program"):
        exec(compile(job[part], f"{part}.py", "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def _failure(error: BaseException) -> dict[str, str]:
    try:
        message = str(error)[:200]
    except BaseException:
        message = ""
    return {"exception": type(error).__name__, "message": message}


def run_stream(job: dict[str, Any], link: socket.socket) -> None:
    """Run the program as a script; say at the end whether it raised."""
    report: Any = {"value": None}
    try:
        with contextlib.suppress(SystemExit):
            _load(job, "__main__")
        threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads, as an interpreter does
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException as error:
        report = _failure(error)
    send(link, report)
    os._exit("exception" in report)


def answer(job: dict[str, Any], link: socket.socket) -> None:
    """Load the program, then answer what `Program.ask` asks, until the other side ends."""
    objects: list[Any] = []

    def keep(value: object) -> int:
        objects.append(value)
        return len(objects) - 1

    def value_of(request: dict[str, Any]) -> Any:
        if "global" in request:
            return _global(names, request["global"])
        if "get" in request:
            return getattr(objects[request["get"]], request["name"])
        given = [decode(each, objects.__getitem__) for each in request["arguments"]]
        named = {name: decode(each, objects.__getitem__) for name, each in request["named"].items()}
        return objects[request["call"]](*given, **named)

    try:
        names = _load(job, "program")
        send(link, {"value": None})
        while (request := receive(link)) is not None:
            try:
                send(link, {"value": encode(value_of(request), keep)})
            except BaseException as error:
                send(link, _failure(error))
    except BaseException as error:
        send(link, _failure(error))


def _global(names: dict[str, Any], name: str) -> Any:
    """What the program calls by this name, or the method of its class ``Solution``."""
    if name not in names and hasattr(names.get("Solution"), name):
        return getattr(names["Solution"](), name)
    if name not in names:
        raise NameError(f"name {name!r} is not defined")
    return names[name]


def judge(job: dict[str, Any], program_link: socket.socket, verdict_link: socket.socket) -> None:
    """Execute tests against a program that runs elsewhere; answer with a reason and what it was about."""
    send(verdict_link, _judged(job, Program(program_link)))


def _judged(job: dict[str, Any], program: Program) -> list[str]:
    try:
        code = compile(job["asserts"], "tests.py", "exec", dont_inherit=True)
        names: dict[str, Any] = {"__name__": "tests"}
        exec(compile(job["setup"], "setup.py", "exec", dont_inherit=True), names)
    except BaseException as error:
        return ["unparseable_gold", _told(error)]
    try:
        program.wait_until_loaded()
        for name in _asked_for(job, names):
            with contextlib.suppress(NameError):
                names[name] = program.ask({"global": name})
        exec(code, names)
    except BaseException as error:
        return [_reason(error), f"{_told(error)}{_line(error, job['asserts'])}"]
    return ["passed", ""]


def _asked_for(job: dict[str, Any], names: dict[str, Any]) -> list[str]:
    """The entry, and what else the tests use but neither they nor the setup define."""
    nodes = [node for node in ast.walk(ast.parse(job["asserts"])) if isinstance(node, ast.Name)]
    made = {node.id for node in nodes if not isinstance(node.ctx, ast.Load)}
    used = {node.id for node in nodes} - made - set(names) - set(dir(builtins))
    return sorted(used | ({job["entry"]} if job["entry"] else set()))


def _reason(error: BaseException) -> str:
    if isinstance(error, FromProgram):
        return reason_of(error.name)
    if isinstance(error, TimeoutError):
        return "timeout"
    return "ended" if isinstance(error, EOFError) else "wrong_output"


def reason_of(name: str) -> str:
    """Why a program that raised this exception fails."""
    return {"MemoryError": "memory", "PermissionError": "forbidden"}.get(name, "exception")


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _line(error: BaseException, source: str) -> str:
    """Where in the tests it happened."""
    trace, number = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "tests.py":
            number = trace.tb_lineno
        trace = trace.tb_next
    return f" in {source.splitlines()[number - 1].strip()[:200]}" if number else ""


# -- in a remote sandbox -----------------------------------------------------------------------------------------------


def serve_remotely(request: dict[str, Any]) -> None:
    """Start the program in a process of its own, judge it here, print the verdict (or the values) as one line of JSON."""
    confine.hide_memory()
    sys.stdout.flush()
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            (link,) = _place([os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY), theirs.fileno()])
            os.closerange(4, 65_536)
            confine.leave_root(65_534)
            confine.die_with_parent()
            _settle()
            answer(request["job"], link)
        finally:
            os._exit(70)
    theirs.close()
    program = Program(ours)
    program.deadline = time.monotonic() + request["together"]
    said = _judged(request["tests"], program) if request["role"] == "judge" else _called(request, program)
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)
    if said[0] == "ended":
        said = ["exception", "it ended before its tests"]
    print("\n" + json.dumps(said), flush=True)
    os._exit(0)


def _called(request: dict[str, Any], program: Program) -> list[Any]:
    """The values of the calls, as `encode` writes them, and what ended them early."""
    values: list[Any] = []
    end = time.monotonic() + request["together"]
    try:
        program.deadline = time.monotonic() + request["seconds"]
        program.wait_until_loaded()
        function = program.ask({"global": request["entry"]})
        for arguments in request["arguments"]:
            program.deadline = min(end, time.monotonic() + request["seconds"])
            values.append(encode(function(*arguments), lambda _: -1))
    except BaseException as error:
        reason = _reason(error)
        return [values, ["exception" if reason == "ended" else reason, _told(error)]]
    return [values, None]
