"""Measurements side by side: ``python -m analysis.angle_gradient FOLDER...`` writes summary.md beside the folders.

Of what is published: ``python -m analysis.angle_gradient results/angle_gradient --summary results/angle_gradient/summary.md``.
"""

from pathlib import Path

import tyro

from analysis.angle_gradient.summary import side_by_side


def main(folders: tyro.conf.Positional[tuple[Path, ...]], summary: Path | None = None) -> None:
    """Tabulate measurements.

    Args:
        folders: Folders that `gainrl correlate` wrote, beside each other; or one that holds published measurements.
        summary: The file to write, if not summary.md beside the folders.
    """
    print(side_by_side(folders, summary))


if __name__ == "__main__":
    tyro.cli(main)
