"""The `gainrl` command. Each subcommand imports what it needs, so that the light ones start at once."""

import os
import sys
import warnings
from importlib.metadata import version

from pydantic import ValidationError

from gainrl.cli.evaluation import evaluate
from gainrl.cli.experiments import list_names, reproduce, show, train
from gainrl.cli.options import app
from gainrl.cli.reporting import figure, publish, report, restore, table
from gainrl.cli.scoring import make_model, score
from gainrl.cli.studies import correlate, patterns
from gainrl.errors import InputError

__all__ = [
    "correlate",
    "evaluate",
    "figure",
    "list_names",
    "main",
    "make_model",
    "patterns",
    "publish",
    "report",
    "reproduce",
    "restore",
    "score",
    "show",
    "table",
    "train",
]


def main() -> None:
    """Entry point: a user's mistake is one line on stderr and exit code 2."""
    if sys.argv[1:] == ["--version"]:
        return print(f"gainrl {version('gainrl')}")
    os.environ.setdefault("TQDM_DISABLE", "1")  # the suite draws its own progress bars
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
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
    except KeyboardInterrupt:
        print("gainrl: interrupted; finished runs are kept, the same command resumes the others", file=sys.stderr)
        sys.exit(130)


def _fail(message: str) -> None:
    print(f"gainrl: {message}", file=sys.stderr)
    sys.exit(2)
