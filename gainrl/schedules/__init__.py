"""Schedules: which problems are trained next. To add one: a class, and its line in `SCHEDULES`."""

from gainrl.schedules.adarft import AdaRFT
from gainrl.schedules.base import Feedback, Floats, InOrder, Ints, Outcome, Schedule
from gainrl.schedules.beliefs import InSight, MoPPS
from gainrl.schedules.gaussian import Gaussian
from gainrl.schedules.greso import GRESO
from gainrl.schedules.learnability import Learnability
from gainrl.schedules.levels import E2H, SEC
from gainrl.schedules.oracle import Oracle
from gainrl.schedules.orders import ORDERS, sort_key
from gainrl.schedules.oversampling import DAPO, SPEED
from gainrl.schedules.prior import Prior
from gainrl.schedules.released import GaussianByUpdate
from gainrl.schedules.uniform import Ordered, Uniform

__all__ = [
    "DAPO",
    "E2H",
    "GRESO",
    "ORDERS",
    "SCHEDULES",
    "SEC",
    "SPEED",
    "AdaRFT",
    "Feedback",
    "Floats",
    "Gaussian",
    "GaussianByUpdate",
    "InOrder",
    "InSight",
    "Ints",
    "Learnability",
    "MoPPS",
    "Oracle",
    "Ordered",
    "Outcome",
    "Prior",
    "Schedule",
    "Uniform",
    "sort_key",
]

SCHEDULES: dict[str, type[Schedule]] = {
    "uniform": Uniform,
    "ordered": Ordered,
    "gaussian": GaussianByUpdate,
    "adarft": AdaRFT,
    "dapo": DAPO,
    "e2h": E2H,
    "greso": GRESO,
    "insight": InSight,
    "learnability": Learnability,
    "mopps": MoPPS,
    "oracle": Oracle,
    "prior": Prior,
    "sec": SEC,
    "speed": SPEED,
}
