"""The benchmarks by name. Each is one YAML file in ``tasks/``: an lm-eval task that names its problem set and its files.

Plain lm-eval runs them too: ``lm_eval --include_path <the folder tasks> --tasks gainrl``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gainrl.errors import InputError, unknown_name
from gainrl.problems import ProblemSet, load_problems
from gainrl.problems.coding import CODING_SETS, CODING_SUFFIXES, load_coding
from gainrl.problems.files import SUFFIXES

TASKS = Path(__file__).parent / "tasks"
PREFIX = "gainrl_"
"""Prefix of the benchmarks' names in lm-eval, which has tasks of its own by those names."""
PAPER_TAG = "gainrl"
"""Tag of the paper's six."""


@dataclass(frozen=True)
class Benchmark:
    """A registered problem set, and the stems of the files that may hold it."""

    name: str
    problems: str
    files: tuple[str, ...] = ()
    in_paper: bool = False
    """Whether it is one of the paper's six."""
    window: str | None = None
    """Days of LiveCodeBench, unless others are asked for."""

    def load(
        self,
        data_dir: Path | None = None,
        *,
        seed: int = 0,
        limit: int | None = None,
        window: str | None = None,
        drop_null_answers: bool = False,
    ) -> ProblemSet:
        """The first ``limit`` problems, from the hub (or generated, or packaged), or from a file in ``data_dir``.

        Args:
            window: as in `load_coding`; other benchmarks than LiveCodeBench are the same at any time.

        Raises InputError: there is no such folder, it has no file of the benchmark (the error lists valid names), or as
            `load_problems` does.
        """
        if data_dir is not None and not data_dir.is_dir():
            raise InputError(f"{data_dir} is not a folder; one of problem files is needed")
        file = None if data_dir is None or not self.files else self._file(data_dir)
        if self.problems in CODING_SETS:
            window = (window or self.window) if self.problems == "livecodebench" else None
            problems = load_coding(self.problems, file, window=window)
        else:
            source = self.problems if file is None else str(file)
            problems = load_problems(source, seed=seed, drop_null_answers=drop_null_answers)
        return problems.head(None if limit is None else min(limit, len(problems)))

    def _file(self, data_dir: Path) -> Path:
        suffixes = CODING_SUFFIXES if self.problems in CODING_SETS else SUFFIXES
        candidates = [data_dir / f"{stem}{suffix}" for stem in self.files for suffix in suffixes]
        for path in candidates:
            if path.exists():
                return path
        names = ", ".join(path.name for path in candidates)
        raise InputError(f"benchmark {self.name}: {data_dir} holds none of {names}")


class _Loader(yaml.SafeLoader):
    """Reads lm-eval's YAML without importing the functions that it names."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def _read(path: Path) -> Benchmark:
    task: dict[str, Any] = yaml.load(path.read_text(), _Loader)
    source = task["dataset_kwargs"]
    name = task["task"].removeprefix(PREFIX)
    in_paper, window = task.get("tag") == PAPER_TAG, source.get("window")
    return Benchmark(name, source["problems"], tuple(source.get("files", ())), in_paper, window)


BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark for benchmark in map(_read, sorted(TASKS.glob("[!_]*.yaml")))
}


def load_benchmark(
    name: str, data_dir: Path | None = None, *, seed: int = 0, limit: int | None = None, window: str | None = None
) -> ProblemSet:
    """`Benchmark.load` by name. Raises InputError for an unknown name, too."""
    if name not in BENCHMARKS:
        raise unknown_name("benchmark", name, BENCHMARKS)
    return BENCHMARKS[name].load(data_dir, seed=seed, limit=limit, window=window)
