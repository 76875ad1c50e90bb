"""The benchmarks by name: which problems they are, on the hub and in a folder of files.

The lm-eval tasks are the YAML files beside this one, ``gainrl_`` and the name; `tasks` is what they call. Plain lm-eval
runs them too: ``lm_eval --include_path <this folder> --tasks gainrl``.
"""

from dataclasses import dataclass
from pathlib import Path

from gainrl.errors import InputError, unknown_name
from gainrl.problems import ProblemSet, load_problems
from gainrl.problems.files import SUFFIXES

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Benchmark:
    """A registered problem set, and the stems of the files that may hold it (the last is the authors' name for it)."""

    problems: str
    stems: tuple[str, ...] = ()


BENCHMARKS: dict[str, Benchmark] = {
    "math500": Benchmark("math500", ("math500", "math_eval")),
    "aime24": Benchmark("aime24", ("aime24", "aime_eval")),
    "amc23": Benchmark("amc23", ("amc23", "amc_eval")),
    "gsm8k": Benchmark("gsm8k-test", ("gsm8k", "gsm8k_eval")),
    "olympiadbench": Benchmark("olympiadbench", ("olympiadbench", "olympiad_bench")),
    "minervamath": Benchmark("minervamath", ("minervamath", "minerva_eval")),
    "arithmetic": Benchmark("arithmetic-heldout"),
    "lists": Benchmark("lists-heldout"),
}


def load_benchmark(name: str, data_dir: Path | None = None, *, seed: int = 0, limit: int | None = None) -> ProblemSet:
    """The problems of a benchmark, from the hub (or generated), or from a file in ``data_dir``; the first ``limit``.

    Raises InputError: no such benchmark, no file of it in the folder (which names would do), or what `load_problems` does.
    """
    if name not in BENCHMARKS:
        raise unknown_name("benchmark", name, BENCHMARKS)
    problems = load_problems(_source(name, data_dir), seed=seed)
    return problems.head(None if limit is None else min(limit, len(problems)))


def _source(name: str, data_dir: Path | None) -> str:
    benchmark = BENCHMARKS[name]
    if data_dir is None or not benchmark.stems:
        return benchmark.problems
    candidates = [data_dir / f"{stem}{suffix}" for stem in benchmark.stems for suffix in SUFFIXES]
    for path in candidates:
        if path.exists():
            return str(path)
    names = ", ".join(path.name for path in candidates)
    raise InputError(f"benchmark {name}: {data_dir} holds none of {names}")
