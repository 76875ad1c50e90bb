"""The `gainrl` command. Each subcommand imports what it needs, so that the light ones start at once."""

import os
import sys
import warnings


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

    from pydantic import ValidationError

    from gainrl.cli import evaluation, experiments, reporting, scoring, studies  # noqa: F401 (they enter their commands)
    from gainrl.cli.options import app
    from gainrl.errors import InputError

    try:
        app.cli(prog="gainrl", description="Reproduction suite for GAIN-RL (arXiv 2506.02281).")
    except ValidationError as error:
        first = error.errors()[0]
        _fail(f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}")
    except InputError as error:
        _fail(str(error))
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'file system'}: {error.strerror or error}")


def _fail(message: str) -> None:
    print(f"gainrl: {message}", file=sys.stderr)
    sys.exit(2)
