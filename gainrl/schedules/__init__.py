"""Schedules: which problems are trained next. To add one: a class, and its line in `SCHEDULES`."""

from gainrl.schedules.adarft import AdaRFT
from gainrl.schedules.base import Feedback, Floats, InOrder, Ints, Schedule
from gainrl.schedules.gaussian import Gaussian
from gainrl.schedules.orders import ORDERS, sort_key
from gainrl.schedules.released import GaussianByUpdate
from gainrl.schedules.uniform import Ordered, Uniform

__all__ = [
    "ORDERS",
    "SCHEDULES",
    "AdaRFT",
    "Feedback",
    "Floats",
    "Gaussian",
    "GaussianByUpdate",
    "InOrder",
    "Ints",
    "Ordered",
    "Schedule",
    "Uniform",
    "sort_key",
]

SCHEDULES: dict[str, type[Schedule]] = {
    "uniform": Uniform,
    "ordered": Ordered,
    "gaussian": GaussianByUpdate,
    "adarft": AdaRFT,
}
