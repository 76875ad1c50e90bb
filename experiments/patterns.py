"""The signal along layers, training and problems (PAPER.md's first three observations): GRPO and GAIN-RL, checkpoints kept.

Layer-wise: cosines between the tokens of one prompt, before training and after. Epoch-wise and data-wise: concentration
and greedy answers of fixed training problems at every checkpoint.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cells import assemble, cell, methods
from gainrl.config import Experiment

if TYPE_CHECKING:
    from gainrl.config import RunConfig
    from gainrl.records import Report

KEEP_EVERY = {"tiny": 10, "paper": 40}
PROBLEMS = 1024
"""Training problems that are followed, the first ones."""


def experiment(scale: str = "tiny") -> Experiment:
    training = {"keep_every": KEEP_EVERY[scale]}
    cells = {
        name: (label, cell(scale, schedule, training=training))
        for name, (label, schedule) in methods(scale).items()
        if name != "adarft"
    }
    return assemble(scale, "patterns", "Angle and accuracy along training", cells, baseline="grpo")


def follow_up(plan: Experiment, runs_dir: Path, report: "Report") -> str:
    """The patterns of every finished run, in <experiment>/patterns/<cell>-seed-<k>/, and summary.md over seeds beside them."""
    from experiments.measurements import DEVICE, each_run, first_problems, load_of_run, write_patterns
    from gainrl.patterns import checkpoints, trace
    from gainrl.records import write_atomically

    lines = []
    for name, run, config in each_run(plan, runs_dir):
        out = runs_dir / plan.name / "patterns" / name
        if not (out / "report.md").exists():
            folders = checkpoints(run.checkpoints)
            first = load_of_run(config, folders[min(folders)], runs_dir)
            problems = first_problems(config, first, PROBLEMS)
            for step in (min(folders), max(folders)):
                _draw_layers(config, folders[step], out / f"cosine_layers_step-{step}")
            frame = trace(
                folders,
                problems,
                out,
                config.prompt,
                signal=config.signal,
                max_completion_tokens=config.training.max_completion_tokens,
                device=DEVICE,
                dtype=first.model.dtype,
                report=report,
            )
            write_patterns(out, frame, config.seed)
        lines.append(f"- {name}: {(out / 'report.md').read_text().splitlines()[0]} ({out / 'report.md'})")
    summary = runs_dir / plan.name / "patterns" / "summary.md"
    write_atomically(summary, lambda path: path.write_text(over_seeds(plan, summary.parent)))
    return "\n".join(["Patterns along training:", "", *lines, "", summary.read_text(), str(summary)])


def over_seeds(plan: Experiment, folder: Path) -> str:
    """What the summaries in <cell>-seed-<k>/ of a folder say together: a row a (cell, quantity), in Markdown."""
    import pandas as pd

    from gainrl.stats import summarize

    rows = []
    for name, label in plan.labels.items():
        paths = sorted(
            folder.glob(f"{name}-seed-*/summary.csv"), key=lambda path: int(path.parent.name.rpartition("-")[2])
        )
        found = pd.concat([pd.read_csv(path) for path in paths]) if paths else pd.DataFrame(columns=["quantity"])
        for quantity, group in found.groupby("quantity", sort=False):
            mean = summarize(group.value.tolist())
            interval = "" if mean.low is None else f" [{mean.low:+.2g}, {mean.high:+.2g}]"
            single = ", ".join(f"{value:+.2g}" for value in group.value)
            rows.append((label, quantity, f"{mean.mean:+.2g}{interval}", single))
    table = pd.DataFrame(rows, columns=["cell", "quantity", "mean [95 % bootstrap interval over seeds]", "seeds"])
    return f"# Along training, over seeds\n\n{table.to_markdown(index=False, disable_numparse=True)}\n"


def _draw_layers(config: "RunConfig", folder: Path, stem: Path) -> None:
    from experiments.measurements import first_problems, load_of_run
    from gainrl.correlate import cosine_matrices
    from paper_figures import cosine_layers, style

    loaded = load_of_run(config, folder, folder)
    (problem,) = first_problems(config, loaded, 1).problems
    shown = cosine_matrices(loaded.model, loaded.tokenizer, problem, config.prompt, config.signal)
    style.save_all(cosine_layers.plot(*shown, title=f"Cosines between tokens, {folder.name}"), stem)
