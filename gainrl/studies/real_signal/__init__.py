"""The signal of one model on several problem sets, beside gradients, likelihoods and pass rates; kept stage by stage."""

from gainrl.studies.real_signal.likelihoods import likelihoods
from gainrl.studies.real_signal.sets import Chosen, choose
from gainrl.studies.real_signal.stages import MeasuredSet, measure_set

__all__ = ["Chosen", "MeasuredSet", "choose", "likelihoods", "measure_set"]
