"""A remote sandbox for clusters: an address that speaks Sandbox Fusion's API (POST /run_code), one request for each trial.

Request and response as bytedance.github.io/SandboxFusion documents them: code, language, stdin, run_timeout; status, message
and run_result with status, return_code, stdout and stderr. What runs there is a script that holds the suite's own judge,
which starts the program in a process of its own (`inside.serve_remotely`), so that program and tests are apart there too.
"""

import base64
import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gainrl.errors import InputError, one_line
from gainrl.grading.cage.endings import TOGETHER, Calls, Ending, of_exception
from gainrl.grading.cage.values import Handle, decode

WAIT_SECONDS = 120
"""How long a request may wait for its turn, beyond the time of its program."""
START_SECONDS = 5.0
"""What the judge has beyond its program's time, to start and to tell."""
SOURCES = ("values", "confine", "inside")
_SCRIPT = """
import base64, json, sys, types
content = json.loads(base64.b64decode("{content}"))
for name, source in content["modules"]:
    sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), vars(sys.modules[name]))
sys.modules[name].serve_remotely(content["request"])
"""


def is_remote(level: str) -> bool:
    """Whether a level is an address."""
    return level.startswith(("http://", "https://"))


def can_be_asked(address: str) -> bool:
    """Whether an address names a host, and a port only if there can be such a one."""
    try:
        parts = urlsplit(address)
        host_can_be = re.fullmatch(r"[\w.:%-]+", parts.hostname or "") and "@" not in parts.netloc
        return bool(host_can_be) and parts.port != 0 and address.split() == [address]
    except ValueError:
        return False


def modules() -> list[tuple[str, str]]:
    """Name and source of what a keeper, or a remote script, is made of; the first is the package."""
    folder = Path(__file__).parent
    return [(__package__, ""), *((f"{__package__}.{name}", (folder / f"{name}.py").read_text()) for name in SOURCES)]


def run_stream(address: str, job: dict[str, str], text: str, seconds: float) -> tuple[Ending, str]:
    """As `trials.run_stream`. Raises InputError: the address does not answer in the API's form."""
    result = _run(address, f"{job['setup']}\n{job['program']}\n", text, seconds)
    return _ending(result), str(result.get("stdout") or "")


def call_functions(
    address: str, job: dict[str, str], calls: Calls, accepts: Callable[[int, Any], bool], seconds: float
) -> tuple[Ending, int]:
    """As `trials.call_functions`, but all calls are made before the first value is looked at. Raises InputError."""
    request = {"role": "functions", "job": job, "entry": calls.entry, "arguments": calls.arguments, "seconds": seconds}
    answer = _ask(address, request | {"together": TOGETHER * seconds})
    if isinstance(answer, Ending):
        return answer, 0
    values, failure = answer
    for number, written in enumerate(values, 1):
        try:
            if not accepts(number - 1, decode(written, lambda place: Handle(place, _gone))):
                return Ending("wrong_output"), number
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            return Ending("wrong_output", f"its value cannot be read: {error}"[:200]), number
    return (Ending(None) if failure is None else Ending(*failure)), min(len(values) + 1, len(calls.arguments))


def run_asserts(address: str, job: dict[str, str], tests: dict[str, Any], seconds: float) -> tuple[str, str]:
    """As `trials.run_asserts`. Raises InputError."""
    answer = _ask(address, {"role": "judge", "job": job, "tests": tests, "together": seconds})
    if isinstance(answer, Ending):
        return answer.reason or "exception", answer.detail
    return str(answer[0]), str(answer[1])


def _ask(address: str, request: dict[str, Any]) -> Any:
    """What the judge says on the last line that it prints; an ending where it says nothing."""
    content = json.dumps({"modules": modules(), "request": request}).encode()
    code = _SCRIPT.replace("{content}", base64.b64encode(content).decode())
    result = _run(address, code, "", request["together"] + START_SECONDS)
    try:
        return json.loads(str(result.get("stdout") or "").strip().splitlines()[-1])
    except (IndexError, ValueError, RecursionError):
        ending = _ending(result)
        return ending if ending.reason else Ending("exception", "its judge said nothing")


def _run(address: str, code: str, text: str, seconds: float) -> dict[str, Any]:
    body = {"code": code, "language": "python", "stdin": text, "run_timeout": seconds}
    request = urllib.request.Request(
        f"{address.rstrip('/')}/run_code", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=seconds + WAIT_SECONDS) as response:
            answer = json.load(response)
        if answer["status"] == "SandboxError":
            raise InputError(f"the sandbox at {address} failed: {str(answer.get('message'))[:200]}")
        result: dict[str, Any] = answer["run_result"]
        result["status"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"the sandbox at {address} does not answer as Sandbox Fusion does: {one_line(error)}"
        ) from error
    return result


def _ending(result: dict[str, Any]) -> Ending:
    if result["status"] == "TimeLimitExceeded":
        return Ending("timeout", "it took too long")
    if result["status"] == "Finished" and result.get("return_code") in (0, None):
        return Ending(None)
    told = (str(result.get("stderr") or "").strip().splitlines() or [f"exit code {result.get('return_code')}"])[-1]
    name, _, message = told.partition(": ")
    return of_exception(name, message)


def _gone(*_: Any) -> None:
    raise TypeError("the program is over")
