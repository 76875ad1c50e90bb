"""Orders as the authors' release ships them: `.pt` files of row numbers, best first."""

import pickle
from pathlib import Path

import numpy as np
import torch

from gainrl.errors import InputError
from gainrl.schedules import Floats


def load_released_order(path: Path, size: int) -> Floats:
    """One number per problem, smallest first, from a file that lists row numbers. No code in the file is run.

    Raises:
        InputError: no such file, not a list of whole numbers, or not each of the set's ``size`` rows once: positions
            in a file of another length point at other problems.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        rows = torch.as_tensor(content)
    except (OSError, RuntimeError, ValueError, TypeError, EOFError, pickle.UnpicklingError) as error:
        reason = getattr(error, "strerror", None) or "not a tensor or list of row numbers saved by torch"
        raise InputError(f"order file {path}: {reason}") from error
    if rows.ndim != 1 or rows.is_floating_point() or rows.is_complex() or rows.dtype == torch.bool:
        raise InputError(f"order file {path}: holds {rows.dtype} of shape {tuple(rows.shape)}; row numbers are needed")
    if len(rows) != size:
        raise InputError(
            f"order file {path}: lists {len(rows)} rows, the problem set has {size}; its positions would point at other "
            "problems, so use the very set that it was made from"
        )
    order_N = rows.numpy()
    if not np.array_equal(np.sort(order_N), np.arange(size)):
        raise InputError(f"order file {path}: is no order of rows 0 to {size - 1}; some are repeated or missing")
    return np.argsort(order_N).astype(np.float64)
