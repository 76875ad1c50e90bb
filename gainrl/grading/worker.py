"""The worker process that compares answers, and the pipe to it: one worker per process, started when first needed.

Why not multiprocessing or a pool: they start no children from daemonic processes (the workers of a data loader), a spawned
child runs the user's script again if it has no main guard, and a task that hangs cannot be taken from them. A plain
subprocess has none of these faults. It imports sympy, and forks a child that reads one request per line and answers with one
word. The child sets an alarm on itself that ends it when a comparison exceeds its time; the worker then says so and forks the
next child, without the second or more that importing takes. The alarm is also why no child outlives a parent that was killed.

Some scorers of reasoning-gym evaluate an answer as Python. So the child takes from itself what a caged program must not have
(`cage.confine`), where the system can do it, and one that has run such a scorer judges nothing else.
"""

import atexit
import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from gainrl.grading.cage import confine

MEMORY_BYTES = 1 << 30
"""Address space of a worker; sympy and the parser take a tenth of it."""
GRACE_SECONDS = 1.0
"""A worker that says nothing so long after its time is killed with its child, and replaced."""
START_SECONDS = 120
"""How long a new worker may take to import sympy, on a busy machine."""
WARM_UP = (
    ("(x+1)^2", "x^2+2x+1"), (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"), (r"x \ge 2", r"[2,\infty)"), ("(1, y)", "(2, y)"),
    (r"\begin{pmatrix} 1 \\ x \end{pmatrix}", r"\begin{pmatrix} 1 \\ y \end{pmatrix}"),
)  # fmt: skip
"""What a worker compares before it forks: much is imported and built at the first use, which no child should have to repeat."""
NEXT = 3
"""Exit code of a child that has run a scorer of another library: its word is given, and another child is to go on."""
COMPARISONS = 20_000
"""A worker is replaced after this many comparisons, before the parser's caches fill its memory."""
PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from gainrl.grading import worker; worker.serve()"


class _Worker:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, json.dumps([str(entry) for entry in sys.path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        self.answered = 0
        if self._receive(START_SECONDS) != "ready":
            self.stop()
            raise RuntimeError("the grading worker did not start; see its messages above")

    def usable(self) -> bool:
        return self.answered < COMPARISONS and self.process.poll() is None

    def ask(self, request: dict[str, Any], seconds: float) -> str | None:
        """The worker's word, or None if it took too long or died; it is then gone."""
        word = None
        try:
            self._send(json.dumps(request).encode() + b"\n")
            word = self._receive(seconds + GRACE_SECONDS)
        finally:
            if word is None:
                self.stop()
        self.answered += 1
        return word

    def _send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            while line:
                line = line[self.process.stdin.write(line) :]

    def _receive(self, seconds: float) -> str | None:
        assert self.process.stdout is not None
        waiting = select.poll()
        waiting.register(self.process.stdout, select.POLLIN)
        if not waiting.poll(seconds * 1000):
            return None
        return self.process.stdout.read(64).decode().strip() or None  # a word is written at once

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.forget()

    def forget(self) -> None:
        """Close this process's ends of the pipes."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


seconds_spent = 0.0
"""By this process in waiting for comparisons, so far."""
_worker: _Worker | None = None
_one_at_a_time = threading.Lock()


def ask(answer: str, gold: str, seconds: float) -> Any:
    """Compare in the worker: "match", "differs", "unparseable_gold"; "timeout" if it took too long or died.

    Args:
        gold: what `Gold.parse` reads.
        seconds: wall-clock limit; starting a worker and waiting for other threads do not count.
    """
    global _worker, seconds_spent
    with _one_at_a_time:
        if _worker is not None and not _worker.usable():
            _worker.stop()
            _worker = None
        if _worker is None:
            _worker = _Worker()
        word, began = None, time.perf_counter()
        try:
            word = _worker.ask({"answer": answer, "gold": gold, "seconds": seconds}, seconds)
        finally:
            seconds_spent += time.perf_counter() - began
            if word is None:
                _worker = None
    return word or "timeout"


@atexit.register
def close() -> None:
    """End this process's worker, if it has one."""
    global _worker
    if _worker is not None:
        _worker.stop()
        _worker = None


def _after_fork() -> None:
    """A forked process has its parent's worker in its variables, and perhaps a lock that nobody will release."""
    global _worker, _one_at_a_time
    if _worker is not None:
        _worker.process.returncode = 0  # the parent's to wait for
        _worker.forget()
    _worker, _one_at_a_time = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def serve() -> None:
    """The worker's side: a child answers until the input ends; one that a limit ended is a ``timeout``, and is replaced."""
    _limit_resources()
    from gainrl.grading.compare import compare
    from gainrl.grading.gold import Gold

    answers = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    for answer, gold in WARM_UP:
        compare(answer, Gold((gold,)))
    with contextlib.suppress(ImportError):
        importlib.import_module("reasoning_gym")  # where it is installed; a comparison has no time to import it
    rules = _libraries_only()
    os.write(answers, b"ready\n")
    while True:
        child = os.fork()
        if child == 0:
            _answer_requests(answers, rules)
            os._exit(0)
        ended = os.waitpid(child, 0)[1]
        if ended == 0:
            return
        if os.waitstatus_to_exitcode(ended) != NEXT:
            os.write(answers, b"timeout\n")


def _libraries_only() -> int | None:
    """Landlock's rules for the children: Python's libraries can be read, nothing else. None where the system has no cage."""
    folders = [folder for folder in sys.path if folder.endswith(("site-packages", "dist-packages"))]
    suite = Path(__file__).parents[1]
    system = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo", "/dev/urandom")
    with contextlib.suppress(OSError):
        if confine.has_seccomp():
            return confine.make_rules((*folders, str(suite), str(Path(os.__file__).parent), *system), (), "")
    return None


def _answer_requests(answers: int, rules: int | None) -> None:
    """The child's side: a line of JSON in, a word out, until the input ends or a limit ends the process."""
    from gainrl.grading.compare import compare
    from gainrl.grading.gold import Gold

    confine.die_with_parent()
    if rules is not None:
        with contextlib.suppress(OSError):
            confine.drop_privileges()
            confine.restrict_files(rules)
            confine.refuse_system_calls()
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        gold = None
        try:
            gold = Gold.parse(request["gold"])
            word = compare(request["answer"], gold)
        except MemoryError:
            os._exit(1)
        except Exception:  # an answer that sympy fails on is not right
            word = "differs"
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(answers, word.encode() + b"\n")
        if gold is not None and gold.scorer is not None:
            os._exit(NEXT)


def _limit_resources() -> None:
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for limit, amount in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(limit)
        with contextlib.suppress(ValueError, OSError):  # not every system can set these limits
            resource.setrlimit(limit, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))
