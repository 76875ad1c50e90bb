"""Launching runs: estimated, trained in this process, in local processes or on Slurm, and watched."""

from gainrl.launch.estimate import describe
from gainrl.launch.launchers import Debug, Launcher, Local, run_all
from gainrl.launch.slurm import Slurm

__all__ = ["Debug", "Launcher", "Local", "Slurm", "describe", "run_all"]
