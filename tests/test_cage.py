"""Hostile programs, at each level of the cage that this machine has: none passes, outlives its limit, or reaches outside."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from gainrl.errors import InputError
from gainrl.grading import cage, grade, programs
from gainrl.grading.cage import Calls, call_functions, keepers, levels, run_stream, weakness

ROOT = Path(__file__).parents[1]
SANDBOXES = ("bubblewrap", "landlock")
"""What reaches outside is refused at these; `limits` refuses none of it, and is called no sandbox."""
SECONDS = 0.7
GENEROUS_SECONDS = 30.0
"""More than any program with that limit may take until its verdict, on a machine that does other things."""
TESTS = {
    "calls": programs.Tests("f", calls=(([1], 2), ([2], 3))),
    "asserts": programs.Tests("f", asserts="def check(f):\n    assert f(1) == 2\n    assert f(2) == 3\n\ncheck(f)"),
    "streams": programs.Tests(streams=(("1\n", "2\n"), ("2\n", "3\n"))),
}
RIGHT = {
    "calls": "def f(x): return x + 1",
    "asserts": "def f(x): return x + 1",
    "streams": "print(int(input()) + 1)",
}
WRONG = {"calls": "def f(x): return 2", "asserts": "def f(x): return 2", "streams": "print(2)"}
"""Right in the first test alone."""


STRONGEST = "bubblewrap" if shutil.which("bwrap") else "landlock"
"""The level whose tests are not slow; those of the sandboxes' walls never are."""


def _use(name, monkeypatch):
    if fault := weakness(name):
        pytest.skip(f"{name}: {fault}")
    monkeypatch.setenv(cage.VARIABLE, name)
    return name


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name != STRONGEST)) for name in cage.LEVELS])
def level(request, monkeypatch):
    return _use(request.param, monkeypatch)


@pytest.fixture(params=SANDBOXES)
def sandbox(request, monkeypatch):
    return _use(request.param, monkeypatch)


def fenced(program):
    return f"I think.\n```python\n{textwrap.dedent(program)}\n```\n"


def verdict_of(program, kind="calls", seconds=SECONDS):
    return grade(fenced(program), str(TESTS[kind]), time_limit=seconds)


def require_health(kind="calls"):
    """A right program passes now, whatever ran before it; nothing of that is left."""
    stamp = f"{RIGHT[kind]}  # {time.monotonic_ns()}"  # no verdict that was kept
    assert verdict_of(stamp, kind, 30.0) == (True, "passed", "")
    for keeper in list(keepers._all):
        if keeper.usable:
            left = psutil.Process(keeper.process.pid).children(recursive=True)
            assert [process.pid for process in left][1:] == []  # bubblewrap's monitor has the keeper for a child


@pytest.mark.parametrize("kind", TESTS)
def test_right_programs_pass_and_wrong_ones_do_not(level, kind):
    require_health(kind)
    wrong = verdict_of(WRONG[kind], kind, 30.0)
    assert (wrong.correct, wrong.reason) == (False, "wrong_output")


def test_a_program_has_no_environment_no_arguments_and_an_empty_folder_of_its_own(level):
    program = "import os, sys\nopen('mine', 'w').write('x')\nprint(sorted(os.environ), sys.argv, os.listdir('.'))"
    for _ in range(2):
        ending, output = run_stream(level, {"setup": "", "program": program}, "", 10.0)
        assert ending.reason is None
        environment, _, rest = output.partition("] [")
        assert set(json.loads(environment.replace("'", '"') + "]")) <= {*keepers.ENVIRONMENT, "LC_CTYPE", "PWD"}
        assert rest == "'program.py'] ['mine']\n"


# -- what takes too much -----------------------------------------------------------------------------------------------

GREEDY = {
    "an endless loop": ("while True: pass", {"timeout"}),
    "a sleep": ("import time; time.sleep(1000)", {"timeout"}),
    "a power that C computes": ("x = 10 ** 10 ** 8\nx = x * x", {"timeout", "memory"}),
    "memory": ("x = bytearray(3 << 30)", {"memory"}),
    "a list without end": ("x = []\nwhile True: x.append(' ' * 1_000_000)", {"memory", "timeout"}),
    "a signal handler that will not end": (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass",
        {"timeout"},
    ),
    "an alarm that is put off": ("import signal\nwhile True: signal.alarm(0)", {"timeout"}),
    "threads that outlive": (
        "import threading\ndef spin():\n    while True: pass\n"
        "for _ in range(4): threading.Thread(target=spin).start()\nf = spin",
        {"timeout", "exception"},  # at the level limits no thread can be started
    ),
    "threads without end": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()",
        {"exception", "timeout", "memory"},
    ),
    "recursion without end": ("import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(x): return f(x)", None),
    "recursion in C": ("import sys\nsys.setrecursionlimit(10 ** 9)\nx = []\nfor _ in range(10 ** 6): x = [x]\nrepr(x)", None),
    "a crash": ("import ctypes\nctypes.string_at(0)", {"exception"}),
    "an abort": ("import os\nos.abort()", {"exception"}),
    "open files": ("x = [open('a', 'w') for _ in range(100_000)]", {"exception"}),
    "a large file": ("with open('a', 'wb') as file:\n    for _ in range(2000): file.write(bytes(1 << 20))", {"exception"}),
    "large files": (
        "for n in range(4000):\n    with open(f'{n}', 'wb') as file: file.write(bytes(1 << 23))",
        {"exception", "memory", "timeout"},
    ),
    "folders in folders": (
        "import os\nfor _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')\nwhile True: pass",
        {"timeout", "memory", "exception"},
    ),
    "a folder that is closed": ("import os\nos.makedirs('a/b')\nos.chmod('a/b', 0)\nos.chmod('a', 0)", None),
    "its own folder deleted": ("import os, shutil\nshutil.rmtree(os.getcwd(), True)\nos.rmdir(os.getcwd())", None),
    "ten megabytes of source": (f"x = '{'x' * 10_000_000}'", {"memory"}),
    "a null byte": ("x = 1\0", {"exception"}),
    "another encoding": ("# coding: utf-7\n+AG8-", {"exception"}),
    "half of a character": ("x = '\ud800'", None),
    "brackets without end": ("(" * 5000, {"exception", "memory"}),
}  # fmt: skip


@pytest.mark.parametrize("name", GREEDY)
def test_what_takes_too_much_ends_in_time_and_leaves_nothing(level, name):
    program, reasons = GREEDY[name]
    began = time.monotonic()
    verdict = verdict_of(program)
    assert time.monotonic() - began < GENEROUS_SECONDS
    assert not verdict.correct
    assert reasons is None or verdict.reason in reasons, verdict
    require_health()


@pytest.mark.parametrize(
    ("kind", "reasons"), [("streams", {"exception", "timeout"}), ("calls", {"wrong_output", "timeout"})]
)
def test_a_gigabyte_that_is_printed_goes_nowhere(level, kind, reasons):
    """What is read is cut at 16 MB; what nobody reads is thrown away, in time or not."""
    program = "for _ in range(1024): print('x' * (1 << 20))\nf = None"
    verdict = verdict_of(program, kind)
    assert not verdict.correct
    assert verdict.reason in reasons
    require_health()


def test_a_fork_bomb_does_not_go_off(sandbox):
    verdict = verdict_of("import os\nwhile True: os.fork()")
    assert verdict.reason == "forbidden"
    require_health()


def test_without_a_sandbox_processes_that_were_started_are_killed(tmp_path, monkeypatch):
    """Also those that left the session, ignore signals, or whose parents are gone."""
    monkeypatch.setenv(cage.VARIABLE, "limits")
    os.chmod(tmp_path, 0o777)
    program = f"""
        import os, signal, time
        def live():
            os.setsid()
            for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
            while True:
                open({str(tmp_path / "alive")!r}, 'w').write(str(time.time()))
                time.sleep(0.02)
        try:
            for _ in range(3): os.fork()
            if os.fork() == 0: live()
        except OSError: pass
        time.sleep(0.3)
        def f(x): return 0
    """
    assert not verdict_of(program).correct
    before = (tmp_path / "alive").read_text() if (tmp_path / "alive").exists() else None
    time.sleep(0.2)
    assert before is None or (tmp_path / "alive").read_text() == before
    require_health()


# -- what cheats -------------------------------------------------------------------------------------------------------

FORGED = """
    import os, json
    for said in (["passed", ""], {"value": None}, {"value": 2}, {"ended": "exit", "number": 0}, "ready"):
        data = json.dumps(said).encode()
        for descriptor in range(12):
            try: os.write(descriptor, len(data).to_bytes(4, "big") + data)
            except OSError: pass
    os._exit(0)
"""
CHEATS = {
    "exit before the tests": "import sys\nsys.exit(0)",
    "exit of the process before the tests": "import os\nos._exit(0)",
    "exit in the function": "import sys\ndef f(x): sys.exit(0)",
    "exit of the process in the function": "import os\ndef f(x): os._exit(0)",
    "a forged verdict": FORGED,
    "a forged verdict in the function": "def f(x):" + textwrap.indent(textwrap.dedent(FORGED), "    "),
    "an object that equals everything": """
        class All(int):
            def __eq__(self, other): return True
            __ne__ = __lt__ = __le__ = __gt__ = __ge__ = lambda self, other: False
            def __hash__(self): return 0
        def f(x): return All()
    """,
    "an object that is no number and equals everything": """
        class All:
            def __eq__(self, other): return True
            def __bool__(self): return True
            def __getattr__(self, name): return self
            def __call__(self, *given): return self
        def f(x): return All()
    """,
    "an object that says it is an int": "class A:\n    __class__ = int\n    __eq__ = bool\ndef f(x): return A()",
    "patched builtins": """
        import builtins, sys
        class Never(Exception): pass
        builtins.AssertionError = Never
        builtins.compile = builtins.exec = builtins.eval = lambda *given, **named: None
        builtins.isinstance = lambda *given: True
        builtins.all = builtins.any = lambda *given: True
        def f(x): return 0
    """,
    "replaced modules": """
        import sys, types
        class Everything(types.ModuleType):
            def __getattr__(self, name): return lambda *given, **named: True
        for name in list(sys.modules): sys.modules[name] = Everything(name)
        def f(x): return 0
    """,
    "a patched runner": """
        import gc, types
        for each in gc.get_objects():
            if isinstance(each, types.FunctionType) and each.__module__.startswith("gainrl"):
                each.__code__ = (lambda *given, **named: True).__code__
        def f(x): return 0
    """,
    "patched frames": """
        import sys
        frame = sys._getframe()
        while frame:
            for name, value in list(frame.f_globals.items()):
                if callable(value) and not isinstance(value, type): frame.f_globals[name] = lambda *g, **n: True
            frame = frame.f_back
        def f(x): return 0
    """,
    "closed descriptors": "import os\nos.closerange(0, 1000)\ndef f(x): return 0",
    "descriptors that are others": "import os\nfor n in range(2, 12): os.dup2(1, n)\ndef f(x): return 0",
    "an exception that is no test's": "class E(BaseException): pass\ndef f(x): raise E",
    "an exception that cannot be told": "class E(Exception):\n    def __str__(self): raise E\ndef f(x): raise E",
    "a value in itself": "def f(x):\n    a = []\n    a.append(a)\n    return a",
    "a value without end": "import itertools\ndef f(x): return itertools.count()",
    "a huge value": "def f(x): return 'x' * (40 << 20)",
    "no function": "f = 2",
    "its verdict printed": "print('passed')\nprint('2')\nprint('3')",
}  # fmt: skip


@pytest.mark.parametrize("name", CHEATS)
def test_no_cheat_passes(level, name):
    for kind in TESTS:
        verdict = verdict_of(CHEATS[name], kind)
        assert not verdict.correct, kind
        assert verdict.reason in {"exception", "wrong_output", "timeout", "memory"}, verdict
    require_health("asserts")


@pytest.mark.parametrize("kind", ["calls", "asserts"])
def test_what_is_expected_is_nowhere_in_the_program_s_process(level, kind):
    """The program looks through all objects and frames, and through its memory where it can, for half of the word."""
    program = """
        import gc, sys
        def f(x):
            word, found, frame = "open" + "sesa", [], sys._getframe()
            while frame:
                found += [repr(frame.f_locals), repr(frame.f_globals)]
                frame = frame.f_back
            for each in gc.get_objects():
                try: found += [s for s in (each.values() if type(each) is dict else each) if type(s) is str]
                except Exception: pass
            try:
                with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb') as memory:
                    for line in maps:
                        first, last = (int(end, 16) for end in line.split()[0].split('-'))
                        if '[heap]' in line:
                            memory.seek(first)
                            found.append(memory.read(last - first).decode('latin-1'))
            except OSError: pass
            place = next((text for text in found if word + "me" in text), "")
            return place and word + "me"
    """
    tests = {
        "calls": programs.Tests("f", calls=(([1], "opensesame"),)),
        "asserts": programs.Tests("f", asserts="assert f(1) == 'opensesame'"),
    }
    verdict = grade(fenced(program), str(tests[kind]), time_limit=20.0)
    assert verdict.reason == "wrong_output", verdict


def test_what_a_program_prints_of_its_keeper_is_only_its_answer(level):
    ending, output = run_stream(level, {"setup": "", "program": textwrap.dedent(FORGED)}, "", 5.0)
    assert ending.reason is None
    assert (
        "passed" in output
    )  # written to descriptor 1 as to the others, and compared with what is expected like any answer


# -- what reaches outside ----------------------------------------------------------------------------------------------

REACHES = {
    "reads /etc/passwd": "open('/etc/passwd').read()",
    "reads a user's file": "open(CANARY).read()",
    "reads the suite": "open(SUITE).read()",
    "reads the suite's packages": "'torch' in os.listdir(SITE)",
    "imports the suite": "__import__('gainrl')",
    "imports from the suite's packages": "__import__('torch')",
    "lists a folder": "os.listdir(FOLDER)",
    "reads through a symbolic link": "os.symlink(CANARY, 'link') or open('link').read()",
    "makes a hard link": "os.link(CANARY, 'hard') or open('hard').read()",
    "reads the environment of another process": "open(f'/proc/{PARENT}/environ', 'rb').read() or 1",
    "reads the memory of another process": "open(f'/proc/{PARENT}/mem', 'rb')",
    "writes a file": "open(FOLDER + '/new', 'w')",
    "changes a file": "open(CANARY, 'a')",
    "cuts a file": "os.truncate(CANARY, 0) or 1",
    "opens a file to cut it": "os.open(CANARY, os.O_RDONLY | os.O_TRUNC)",
    "removes a file": "os.remove(CANARY) or 1",
    "moves a file out": "open('a', 'w') and (os.rename('a', FOLDER + '/a') or 1)",
    "makes a folder": "os.mkdir(FOLDER + '/made') or 1",
    "changes a file's mode": "os.chmod(CANARY, 0o777) or 1",
    "changes a file's owner": "os.chown(CANARY, os.getuid(), os.getgid()) or 1",
    "changes a file's times": "os.utime(CANARY, (0, 0)) or 1",
    "sets an attribute": "os.setxattr(CANARY, 'user.a', b'') or 1",
    "opens a TCP socket": "socket.socket()",
    "opens a UDP socket": "socket.socket(type=socket.SOCK_DGRAM)",
    "opens an IPv6 socket": "socket.socket(socket.AF_INET6)",
    "connects to a server": "socket.create_connection(('127.0.0.1', PORT))",
    "connects to a Unix socket": "socket.socket(socket.AF_UNIX).connect(FOLDER + '/socket') or 1",
    "connects to an abstract socket": "socket.socket(socket.AF_UNIX).connect(chr(0) + 'gainrl-' + str(PARENT)) or 1",
    "opens a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "starts a process": "os.fork() or os._exit(0)",
    "starts a program": "subprocess.run(['/bin/true']) and 1",
    "becomes another program": "os.execv(sys.executable or '/bin/true', ['x'])",
    "spawns": "os.posix_spawn('/bin/true', ['x'], {})",
    "signals the parent": "os.kill(PARENT, 0) or 1",
    "kills its keeper": "os.kill(os.getppid(), 9) or 1",
    "kills everything": "os.kill(-1, 9) or 1",
    "kills its group": "os.killpg(0, 0) or 1",
    "kills through another call": "libc.syscall(234 if x86 else 131, os.getppid(), os.getppid(), 9) == 0",
    "kills by x32's number": "x86 and libc.syscall(0x40000000 + 62, os.getppid(), 9) == 0",
    "opens a process": "os.pidfd_open(PARENT)",
    "traces the parent": "libc.ptrace(16, PARENT, 0, 0) == 0",
    "traces its keeper": "libc.ptrace(16, os.getppid(), 0, 0) == 0",
    "limits another process": "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
    "slows another process": "os.setpriority(os.PRIO_PROCESS, PARENT, 19) or 1",
    "binds another process to a core": "os.sched_setaffinity(os.getppid(), {0}) or 1",
    "gives its signals to another": "fcntl.fcntl(0, fcntl.F_SETOWN, PARENT) == 0",
    "raises its own limit": "resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40)) or 1",
    "makes a namespace": "libc.unshare(0x10000000) == 0",
    "mounts": "libc.mount(b'none', b'.', b'tmpfs', 0, 0) == 0",
    "changes its root": "os.chroot('.') or 1",
    "opens io_uring": "libc.syscall(425, 1, (ctypes.c_char * 120)()) >= 0",
    "loads a filter program into the kernel": "libc.syscall(321 if x86 else 280, 0, 0, 0) >= 0",
    "shares memory that outlives it": "libc.shmget(0, 4096, 0o1600) >= 0",
    "makes a shared memory file": "open('/dev/shm/gainrl', 'w')",
    "keeps a key": "libc.syscall(248 if x86 else 217, b'user', b'gainrl', b'x', 1, -2) >= 0",
    "makes memory that no limit counts": "os.memfd_create('x')",
    "makes a device": "os.mknod('device', 0o20666, 259) or open('device')",
    "becomes root": "os.setuid(0) or os.geteuid() == 0 and open('/etc/shadow').read()",
}  # fmt: skip
"""Expressions that are true if they reach what they must not."""


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A folder of a user with a file and listening sockets; what programs are told of it."""
    folder = tmp_path_factory.mktemp("outside", numbered=True)
    os.chmod(folder, 0o777)
    canary = folder / "canary"
    canary.write_text("sings")
    os.chmod(canary, 0o666)
    servers = [socket.create_server(("127.0.0.1", 0))]
    for address in (str(folder / "socket"), f"\0gainrl-{os.getpid()}"):
        servers.append(socket.socket(socket.AF_UNIX))
        servers[-1].bind(address)
        servers[-1].listen()
    names = {
        "CANARY": str(canary),
        "FOLDER": str(folder),
        "SUITE": str(Path(cage.__file__)),
        "SITE": str(Path(psutil.__file__).parents[1]),
        "PARENT": os.getpid(),
        "PORT": servers[0].getsockname()[1],
        "x86": os.uname().machine == "x86_64",
    }
    yield canary, names
    for server in servers:
        server.close()


def reached(level, names, expressions):
    """What came of the expressions, in one program: false, the exception's name, or true. Calls are made one by one."""
    lines = [
        "import ctypes, fcntl, os, resource, socket, subprocess, sys",
        "libc = ctypes.CDLL(None)",
        *(f"{name} = {value!r}" for name, value in names.items()),
        "def f(expression):",
        "    try: return 'reached' if eval(expression) else 'no'",
        "    except (OSError, ImportError, ValueError) as error: return type(error).__name__",
    ]
    values = []
    job = {"setup": "", "program": "\n".join(lines)}
    calls = Calls("f", tuple([expression] for expression in expressions), 1 << 20)
    ending, _ = call_functions(level, job, calls, lambda _, value: values.append(value) or True, 10.0)
    assert ending.reason is None, (ending, expressions[len(values) :][:1])
    return values


def test_a_sandbox_refuses_whatever_reaches_outside(sandbox, outside):
    canary, names = outside
    before = canary.stat()
    values = reached(sandbox, names, list(REACHES.values()))
    assert [name for name, value in zip(REACHES, values, strict=True) if value == "reached"] == []
    assert canary.read_text() == "sings"
    assert (canary.stat().st_mode, canary.stat().st_mtime) == (before.st_mode, before.st_mtime)
    assert sorted(path.name for path in canary.parent.iterdir()) == ["canary", "socket"]
    require_health()


def test_the_attempts_reach_their_aims_where_nothing_refuses_them(outside):
    """Without a sandbox most of them succeed, so that their failing within one means something."""
    canary, names = outside
    harmless = [
        "reads /etc/passwd", "reads a user's file", "reads the suite", "lists a folder", "reads through a symbolic link",
        "changes a file", "opens a TCP socket", "opens a UDP socket", "connects to a server", "connects to a Unix socket",
        "connects to an abstract socket", "changes a file's mode" if os.geteuid() == 0 else "changes a file",
    ]  # fmt: skip
    values = reached("limits", names, [REACHES[name] for name in harmless])
    os.chmod(canary, 0o666)
    assert values == ["reached"] * len(harmless)


def test_forbidden_is_a_reason_of_its_own(sandbox):
    for program in ("import socket\nsocket.socket()", "import os\nos.fork()", "import os\nos.kill(1, 9)"):
        assert verdict_of(program).reason == "forbidden"


def test_harmless_things_work_within_a_sandbox(sandbox):
    program = """
        import asyncio, decimal, json, os, sqlite3, sys, tempfile, threading, zoneinfo
        import numpy as np
        from concurrent.futures import ThreadPoolExecutor
        def f(x):
            os.makedirs("a/b")
            with open("a/b/c", "w") as file: file.write("1")
            os.rename("a/b/c", "a/d")
            with tempfile.TemporaryFile(dir=".") as file: file.write(b"1")
            with ThreadPoolExecutor(2) as threads: assert sum(threads.map(int, "12")) == 3
            assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
            assert asyncio.run(asyncio.sleep(0, 5)) == 5
            assert np.linalg.det(np.eye(3)) == 1
            return x + int(open("a/d").read())
    """
    program = program.replace("os.makedirs", "os.path.exists('a') or os.makedirs")
    assert verdict_of(program, "calls", 20.0) == (True, "passed", "")


# -- keepers and levels ------------------------------------------------------------------------------------------------


def test_keepers_end_with_the_process_that_started_them(level, tmp_path):
    endless = fenced("def f(x):\n    while True: pass")
    script = f"""
        import sys, threading, time
        from gainrl.grading import cage, grade, programs
        from gainrl.grading.cage import keepers
        tests = programs.Tests("f", asserts="f(1)")
        threading.Thread(target=grade, args=({endless!r}, str(tests)), daemon=True).start()
        while len(keepers._all) < 2: time.sleep(0.05)
        time.sleep(0.5)
        print(*(keeper.process.pid for keeper in keepers._all), flush=True)
        time.sleep(100)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    started = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
    everyone = [*started, *(child for each in started for child in each.children(recursive=True))]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(everyone) >= 2
    _, alive = psutil.wait_procs(everyone, timeout=10)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
    assert list(tmp_path.iterdir()) == []


def test_a_keeper_that_was_killed_is_replaced(level):
    require_health()
    for keeper in [each for each in keepers._all if each.usable]:
        os.killpg(keeper.process.pid, signal.SIGKILL)
    require_health()


def test_a_forked_process_has_keepers_of_its_own(level):
    require_health()
    child = os.fork()
    if child == 0:
        os._exit(0 if verdict_of("def f(x): return 1 + x", "calls", 30.0).correct and len(keepers._all) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    require_health()


@pytest.fixture
def fresh_levels(monkeypatch):
    """No level was tried yet."""
    monkeypatch.delenv(cage.VARIABLE, raising=False)
    yield monkeypatch
    monkeypatch.undo()
    levels._choose.cache_clear()
    weakness.cache_clear()


def test_the_strongest_level_is_taken_and_said_once(fresh_levels, capsys):
    levels._choose.cache_clear()
    expected = next(name for name in cage.LEVELS if not weakness(name))
    assert {cage.level() for _ in range(3)} == {expected}
    assert capsys.readouterr().err.count("gainrl: programs that models write run in: ") == 1


@pytest.mark.parametrize("expected", ["landlock", "limits"])
def test_weaker_levels_follow_where_a_stronger_one_is_not_there(fresh_levels, capsys, expected):
    if fault := weakness("landlock"):
        pytest.skip(fault)
    levels._choose.cache_clear()
    weakness.cache_clear()
    fresh_levels.setenv("PATH", "")
    if expected == "limits":
        settings = keepers._settings
        old = {
            "readable": [],
            "listed": [],
            "level": "limits",
        }  # a kernel without Landlock: what is refused is not refused

        def without_landlock(level, scratch):
            return settings(level, scratch) | old

        fresh_levels.setattr(keepers, "_settings", without_landlock)
    assert cage.level() == expected
    assert ("which is no sandbox: install bubblewrap" in capsys.readouterr().err) == (expected == "limits")


@pytest.mark.parametrize(
    "address",
    ["http://", "https://", "http:///run", "http://a b", "http://a/b c", "http://x:99999", "http://x:y", "http://[x"],
)
def test_an_address_that_cannot_be_asked_is_one_line(fresh_levels, address):
    with pytest.raises(InputError, match="an address has a host, and a port from 1 to 65535"):
        cage.demand(address)
    assert cage.VARIABLE not in os.environ


@pytest.mark.parametrize(
    "address", ["http://localhost", "https://a-b.example:8080/path/", "http://[::1]:80", "http://x:"]
)
def test_an_address_that_can_be_asked_is_taken(fresh_levels, address):
    fresh_levels.setenv(cage.VARIABLE, "")  # to be undone
    cage.demand(address, here=False)
    assert os.environ[cage.VARIABLE] == address


def test_a_level_that_cannot_be_had_is_one_line(fresh_levels):
    fresh_levels.setenv("PATH", "")
    with pytest.raises(
        InputError, match=r"no sandbox for programs \(bubblewrap: .*bwrap is not installed\); valid: "
    ) as raised:
        cage.demand("bubblewrap")
    assert "\n" not in str(raised.value)
    with pytest.raises(
        InputError, match="sandbox is 'docker'; valid: bubblewrap, landlock, limits, or the http address"
    ):
        cage.demand("docker")
    assert os.environ[cage.VARIABLE] == "bubblewrap", "what is not known is not remembered"


def test_the_probe_tells_what_a_cage_lets_through():
    """At the level limits all that it attempts succeeds, as the probe says."""
    ending, output = run_stream("limits", {"setup": "", "program": levels.PROBE}, f"{__file__}\n/tmp", 20.0)
    Path("/tmp/written").unlink(missing_ok=True)
    assert ending.reason is None
    assert output.splitlines()[-1] == "done"
    assert {"reads a file outside", "opens a socket", "sends a signal"} <= set(output.splitlines())
