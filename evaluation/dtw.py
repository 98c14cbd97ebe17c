"""Dynamic time warping: which frame of one recording corresponds to which of another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def warp(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The cheapest monotonic path between two sequences [N, D] and [M, D]: frames of either, [P] each.

    Cost of a pair is its Euclidean distance; steps are (1, 1), (1, 0) and (0, 1), all of weight one (after Sakoe &
    Chiba 1978). Both ends are fixed. Ties prefer the diagonal.
    """
    rows, columns = len(first), len(second)
    assert rows and columns
    cost = _distances(first, second)
    # Sums along anti-diagonals k = i + j, since a cell needs only the two before: sums[k, i + 1] belongs to (i, k - i).
    sums = np.full((rows + columns - 1, rows + 1), np.inf)
    sums[0, 1] = cost[0, 0]
    came = np.zeros((rows + columns - 1, rows), dtype=np.int8)  # 0: diagonal, 1: row before, 2: column before
    for k in range(1, rows + columns - 1):
        low, high = max(0, k - columns + 1), min(rows - 1, k)
        i = np.arange(low, high + 1)
        options = np.stack([sums[k - 2, i] if k > 1 else np.full(len(i), np.inf), sums[k - 1, i], sums[k - 1, i + 1]])
        best = options.argmin(0)
        came[k, i] = best
        sums[k, i + 1] = cost[i, k - i] + options[best, np.arange(len(i))]
    return _back(came, rows, columns)


def _distances(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1)[None] - 2.0 * first @ second.T
    return np.sqrt(np.maximum(squares, 0.0))


def _back(came: npt.NDArray[np.int8], rows: int, columns: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    i, j = rows - 1, columns - 1
    path = [(i, j)]
    while i or j:
        step = came[i + j, i]
        i, j = i - (step != 2), j - (step != 1)
        path.append((i, j))
    pairs = np.array(path[::-1], dtype=np.int64)
    return pairs[:, 0], pairs[:, 1]
