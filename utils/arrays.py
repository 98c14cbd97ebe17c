"""Reading .npy files, in which everything may be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from errors import UserError


def load_array(path: Path, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """Read the numbers of one .npy file, never a pickled object in it; raises UserError naming it."""
    try:
        array = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run preprocess.py") from error
    except Exception as error:  # a foreign file may fail anywhere in the reader: zip archives, headers, sizes
        reason = str(error)[:200] or type(error).__name__
        raise UserError(f"{path} is not a readable array ({reason}); make it again with preprocess.py") from error
    if not isinstance(array, np.ndarray):  # an .npz under this name: open, and with arrays of its own
        array.close()
        raise UserError(f"{path} is an archive of arrays, not one; make it again with preprocess.py")
    if array.dtype.kind not in "iuf" or not array.dtype.isnative:
        raise UserError(f"{path} holds {array.dtype} instead of numbers; make it again with preprocess.py")
    return array


def load_finite(path: Path) -> np.ndarray:
    """As `load_array`; refuses an array in which any number is not finite, or which holds none at all."""
    array = load_array(path)
    if array.size == 0 or not np.isfinite(array).all():
        what = (
            "no numbers"
            if array.size == 0
            else f"{np.count_nonzero(~np.isfinite(array))} that are not finite (NaN, inf)"
        )
        raise UserError(f"{path} holds {what}; make it again with preprocess.py --force")
    return array
