"""One run in as many processes as start this; test_resume.py does so.

accelerate launch --cpu --num_processes 2 -m tests.distributed_training MODEL_FOLDER ROOT [STEP_TO_DIE_AFTER]
"""

import os
import signal
import sys
from pathlib import Path

import torch

from gainrl.runs.experiment import Execution
from tests.test_resume import config_of, train


def main(model: Path, root: Path, last_step: int = 0) -> None:
    def report(what: str, done: int, of: int) -> None:
        if what == "training" and done == last_step:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    train(config_of(model), root, Execution(gpus=2, checkpoint_every=2), report)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
