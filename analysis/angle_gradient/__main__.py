"""Measurements side by side: ``python -m analysis.angle_gradient FOLDER...`` writes summary.md beside the folders."""

from pathlib import Path

import tyro

from analysis.angle_gradient.summary import side_by_side


def main(folders: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    """Tabulate measurements.

    Args:
        folders: Folders that `gainrl correlate` wrote, beside each other.
    """
    print(side_by_side(folders))


if __name__ == "__main__":
    tyro.cli(main)
