"""The `gainrl` command. Each subcommand imports what it needs, so that the light ones start at once."""

import os
import sys
import warnings
from io import TextIOWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError
    from tyro._errors import ParseErrorEvent


def main() -> None:
    """Entry point: a user's mistake is one line on stderr and exit code 2."""
    if sys.argv[1:] == ["--version"]:
        from importlib.metadata import version

        return print(f"gainrl {version('gainrl')}")
    try:
        _run()
    except KeyboardInterrupt:
        print("gainrl: interrupted; finished runs are kept, the same command resumes the others", file=sys.stderr)
        sys.exit(130)


def _run() -> None:
    """Run the command; all imports are here, so that Ctrl-C in the first moments is caught too."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # the suite draws its own progress bars
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character shows its number

    from pydantic import ValidationError
    from tyro._errors import on_parse_error

    from gainrl.cli import evaluation, experiments, reporting, scoring, studies  # noqa: F401 (they enter their commands)
    from gainrl.cli.options import app
    from gainrl.errors import InputError

    try:
        with on_parse_error(_refuse):
            app.cli(prog="gainrl", description="Reproduction suite for GAIN-RL (arXiv 2506.02281).")
    except ValidationError as error:
        _fail(_of_validation(error))
    except InputError as error:
        _fail(str(error))
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'file system'}: {error.strerror or error}")


def _refuse(event: "ParseErrorEvent") -> None:
    """Tell a value that tyro cannot read as every other mistake, in one line; what else it refuses, it tells itself."""
    from pydantic import ValidationError
    from tyro._errors import InstantiationFailure, InvalidChoice

    from gainrl.errors import InputError

    if isinstance(event, InvalidChoice):
        name = event.argument.display_name()
        raise InputError(f"{name} is {event.value!r}; valid: {', '.join(event.choices)}")
    if isinstance(event, InstantiationFailure):
        cause = getattr(sys.exception(), "__context__", None)
        if isinstance(cause, ValidationError):
            raise cause
        name = "" if event.argument is None else f"{event.argument.display_name()}: "
        raise InputError(name + event.message.partition("\n")[0])


def _of_validation(error: "ValidationError") -> str:
    """The first mistake as one line; an option is named as it was written on the command line."""
    first = error.errors()[0]
    field = str(first["loc"][-1]) if first["loc"] else ""
    written = (word.partition("=")[0] for word in sys.argv if word.startswith("--"))
    place = ".".join(map(str, first["loc"]))
    name = next((w for w in written if w.lstrip("-").rpartition(".")[2].replace("-", "_") == field), place)
    if first["type"] != "value_error" and isinstance(first["input"], int | float | str):
        return f"{name} is {first['input']}; {first['msg'].replace('Input should', 'it should')}"
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}" if name else message


def _fail(message: str) -> None:
    print(f"gainrl: {message}", file=sys.stderr)
    sys.exit(2)
