"""Uniform sampling that throws groups away after it has seen how their rollouts went: DAPO's and SPEED's."""

from numpy.typing import ArrayLike

from gainrl.errors import InputError
from gainrl.schedules.uniform import Uniform


class DAPO(Uniform):
    """DAPO's dynamic sampling (arXiv 2503.14476): groups all right or all wrong are thrown away and drawn again.

    Draw: as `Uniform`. A group is kept if 0 < share correct < 1; for those that are not, the next problems of the pass are
    sampled, at most ``redraws`` times for a generation. 10 is what verl's recipe/dapo has
    (run_dapo_qwen2.5_32b.sh), where more is an error; here the rest is then trained as it is.
    Departs: as many are drawn as are missing, where verl samples whole batches and drops what is too much.
    """

    def __init__(self, sort_key_N: ArrayLike, *, seed: int = 0, redraws: int = 10) -> None:
        super().__init__(sort_key_N, seed=seed)
        if redraws < 1:
            raise InputError(f"redraws is {redraws}; it must be 1 or more")
        self.redraws = redraws


class SPEED(Uniform):
    """SPEED (arXiv 2506.09016; rule and numbers from Zanette-Labs/speed-rl): a few rollouts first, the rest where they differ.

    Draw: as `Uniform`. ``screening`` rollouts are sampled of each problem; where they are all right or all wrong the problem is
    dropped and another one drawn; of the others the group is filled up, and trained with all its rollouts.
    Its script screens with 4 and adds 20, and draws at most 50 times (defaults: 4 and 12). The fewer are added, the more of the
    cost is screening.
    Departs: both are sampled with the same weights, one after the other, where the code screens the next batch in the same
    call in which it fills up the last one, and keeps a buffer of those that qualified.
    """

    def __init__(self, sort_key_N: ArrayLike, *, seed: int = 0, screening: int = 4, redraws: int = 50) -> None:
        super().__init__(sort_key_N, seed=seed)
        if screening < 2 or redraws < 1:
            raise InputError(
                f"screening is {screening}, redraws {redraws}; screening must be 2 or more, redraws 1 or more"
            )
        self.screening: int | None = screening
        self.redraws = redraws
