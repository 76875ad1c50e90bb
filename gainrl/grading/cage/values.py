"""What crosses between a program and its judge: values of built-in types as JSON, in frames on a socket. Never pickle.

A value that a program returns is rebuilt here from its type and content alone, so that an object with an ``__eq__`` of its
own stays in the program's process; the judge gets a `Handle` to it, which can be called, asked for attributes and passed
back, and equals nothing. Subclasses arrive as the built-in type that they extend. Imports the standard library alone: the
cage runs this file where nothing of the suite can be seen.
"""

import builtins
import json
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

LONGEST_FRAME = 1 << 24
"""Bytes."""
_MOST_ITEMS = 100_000
"""Of an iterator that a program returns; one without end would never cross."""
_CONTAINERS: dict[str, type[Any]] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque}
_ITERATORS = (range, Iterator)


class Handle:
    """An object that stays where it was made, as the other side sees it."""

    __slots__ = ("_ask", "_number")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, number: int, ask: Callable[..., Any]) -> None:
        self._number, self._ask = number, ask

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._ask({"call": self._number}, arguments, named)

    def __getattr__(self, name: str) -> Any:
        return self._ask({"get": self._number, "name": name})

    def __eq__(self, other: object) -> bool:
        raise TypeError("the program returned an object that cannot be compared outside of it")

    def __bool__(self) -> bool:
        raise TypeError("the program returned an object that is neither true nor false outside of it")


def encode(value: Any, keep: Callable[[Any], int]) -> Any:
    """A value as JSON can hold it; ``keep`` stores an object that cannot cross, and returns its number."""
    if value is None or isinstance(value, bool):
        return value
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 63 else {"int": hex(value)}
    if isinstance(value, float | str):
        return float(value) if isinstance(value, float) else str.__str__(value)
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, dict):
        return {"dict": [[encode(key, keep), encode(item, keep)] for key, item in value.items()]}
    for name, kind in _CONTAINERS.items():
        if isinstance(value, kind):
            return {name: [encode(item, keep) for item in value]}
    if isinstance(value, _ITERATORS):
        return {"iterator": [encode(item, keep) for item in _first(value, _MOST_ITEMS)]}
    return {"handle": value._number if isinstance(value, Handle) else keep(value)}


def decode(written: Any, found: Callable[[int], Any]) -> Any:
    """The inverse of `encode`; ``found`` gives the object, or the handle, of a number.

    Raises whatever a damaged text leads to: ValueError, TypeError, KeyError, RecursionError.
    """
    if not isinstance(written, dict):
        if isinstance(written, list):
            raise ValueError("a bare list is no value")
        return written
    ((kind, content),) = written.items()
    if kind == "dict":
        return {decode(key, found): decode(item, found) for key, item in content}
    if kind in _CONTAINERS:
        return _CONTAINERS[kind]([decode(item, found) for item in content])
    if kind == "iterator":
        return iter([decode(item, found) for item in content])
    if kind == "complex":
        return complex(float(content[0]), float(content[1]))
    simple: dict[str, Callable[[Any], Any]] = {
        "int": lambda text: int(text, 16),
        "bytes": bytes.fromhex,
        "handle": lambda number: found(int(number)),
    }
    return simple[kind](content)


def _first(values: Iterable[Any], most: int) -> Iterator[Any]:
    for number, value in enumerate(values):
        if number == most:
            raise ValueError(f"an iterator of more than {most:,} items cannot leave the program")
        yield value


def send(link: socket.socket, message: Any) -> None:
    """One frame: its length in four bytes, then JSON. Raises ValueError for a message that is too long."""
    data = json.dumps(message).encode()
    if len(data) > LONGEST_FRAME:
        raise ValueError("a value of more than 16 MB cannot leave the program")
    link.sendall(len(data).to_bytes(4, "big") + data)


def receive(link: socket.socket, deadline: float | None = None, longest: int = LONGEST_FRAME) -> Any:
    """The next frame; None where the other side has ended.

    Args:
        deadline: of `time.monotonic`.

    Raises:
        TimeoutError: the frame did not arrive in time.
        ValueError: it is longer than ``longest`` bytes, or no JSON.
        RecursionError: it is nested too deeply.
    """
    header = _exactly(link, 4, deadline)
    if header is None:
        return None
    size = int.from_bytes(header, "big")
    if size > longest:
        raise ValueError(f"a frame of {size:,} bytes; {longest:,} are the most")
    data = _exactly(link, size, deadline)
    return None if data is None else json.loads(data)


def _exactly(link: socket.socket, size: int, deadline: float | None) -> bytes | None:
    parts, missing = [], size
    while missing:
        if deadline is not None:
            link.settimeout(max(deadline - time.monotonic(), 1e-6))
        try:
            part = link.recv(min(missing, 1 << 20))
        except ConnectionError:
            return None
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class FromProgram:
    """Marks an exception that a program raised; it is of the built-in type of its name, too, where there is one."""

    name: str
    """Its type, as the program calls it."""


class Program:
    """A loaded program at the other end of a socket: its names, its functions, its objects."""

    def __init__(self, link: socket.socket, longest: int = LONGEST_FRAME) -> None:
        self.link, self.longest, self.deadline = link, longest, None  # type: tuple[socket.socket, int, float | None]

    def wait_until_loaded(self) -> None:
        """Raises as `ask` does, for what the program does while it is loaded."""
        self._reply()

    def ask(self, request: dict[str, Any], arguments: Iterable[Any] = (), named: dict[str, Any] | None = None) -> Any:
        """The value of ``{"global": name}``, ``{"get": number, "name": attribute}`` or ``{"call": number}``.

        Raises:
            Exception: an exception of the program, marked `FromProgram`.
            EOFError: the program has ended.
            TimeoutError: as `receive` does; so too ValueError and RecursionError.
        """
        given = {"arguments": [encode(value, _cannot_enter) for value in arguments]}
        given["named"] = {name: encode(value, _cannot_enter) for name, value in (named or {}).items()}  # type: ignore
        try:
            send(self.link, request | given)
        except ConnectionError as error:
            raise EOFError("the program has ended") from error
        return decode(self._reply(), lambda number: Handle(number, self.ask))

    def _reply(self) -> Any:
        reply = receive(self.link, self.deadline, self.longest)
        if reply is None:
            raise EOFError("the program has ended")
        if not isinstance(reply, dict):
            raise ValueError("the program answers in another form")
        if "exception" in reply:
            raise exception_of(str(reply["exception"]), str(reply.get("message", "")))
        return reply.get("value")


def exception_of(name: str, message: str) -> Exception:
    """An exception of the program, as it was called there."""
    kind = getattr(builtins, name, None)
    kind = kind if isinstance(kind, type) and issubclass(kind, Exception) else Exception
    try:
        error: Exception = type(name, (FromProgram, kind), {})(message)
    except TypeError:  # one that is made of other things than a message
        error = type(name, (FromProgram, Exception), {})(message)
    error.name = name  # type: ignore[attr-defined]
    return error


def _cannot_enter(value: object) -> int:
    raise TypeError(f"a {type(value).__name__} cannot be given to the program")
