"""t-SNE: points of many dimensions on a plane, neighbours beside one another (van der Maaten & Hinton 2008).

The exact method, for some hundred points: 400 take half a second, where importing scikit-learn alone takes longer.
It keeps to element-wise numpy with its fixed order of summation, so that the result does not depend on the number
of threads of a matrix library.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PERPLEXITY = 30.0  # about how many neighbours count
STEPS = 300
EXAGGERATED_STEPS = 75  # the first ones, with attraction multiplied, form the clusters
EXAGGERATION = 12.0
INITIAL_SPREAD = 1e-4
BISECTIONS = 30
Points = npt.NDArray[np.float32]


def project(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[n, D] -> [n, 2]; every dimension is scaled to the same spread first. Fewer than 5 points, which have no
    neighbourhoods, are shown in their directions of largest spread."""
    wide = vectors.astype(np.float64)
    scaled = (wide - wide.mean(axis=0)) / np.maximum(wide.std(axis=0), 1e-8)
    start = _principal_plane(scaled)
    if len(vectors) < 5:
        return start.astype(np.float32)
    affinity = _affinities(_squared_distances(scaled), min(PERPLEXITY, (len(vectors) - 1) / 3))
    spread = max(float(start[:, 0].std()), 1e-12)
    return _descend(affinity.astype(np.float32), (start / spread * INITIAL_SPREAD).astype(np.float32))


def _principal_plane(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[n, D] centred -> [n, 2], its first principal components, each with its largest loading positive."""
    covariance = np.einsum("ni,nj->ij", points, points)  # [D, D]
    _, directions = np.linalg.eigh(covariance)
    axes = directions[:, ::-1][:, :2]  # [D, 2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    plane = np.einsum("nd,dk->nk", points, axes)
    return np.round(np.pad(plane, ((0, 0), (0, 2 - plane.shape[1]))), 6)


def _squared_distances(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[n, D] -> [n, n]."""
    return np.stack([np.square(points - point).sum(axis=1) for point in points])


def _affinities(distances: npt.NDArray[np.float64], perplexity: float) -> npt.NDArray[np.float64]:
    """Squared distances [n, n] -> joint probabilities [n, n]: Gaussian ones whose width gives every row the entropy
    log(perplexity), found by bisection of all rows at once, and symmetric."""
    n = len(distances)
    others = ~np.eye(n, dtype=bool)
    beyond = distances - np.where(others, distances, np.inf).min(axis=1, keepdims=True)
    beyond *= others  # so that the point itself does no harm to the exponential
    low: npt.NDArray[np.float64] = np.zeros((n, 1))
    high: npt.NDArray[np.float64] = np.full((n, 1), np.inf)
    precision: npt.NDArray[np.float64] = np.full((n, 1), 1.0 / max(float(distances.mean()), 1e-12))
    for _ in range(BISECTIONS):
        weights = np.exp(-beyond * precision) * others
        sums = weights.sum(axis=1, keepdims=True)
        excess = np.einsum("ij,ij->i", beyond, weights)[:, None] / sums
        too_wide = np.log(sums) + precision * excess > np.log(perplexity)
        low, high = np.where(too_wide, precision, low), np.where(too_wide, high, precision)
        precision = np.where(np.isinf(high), precision * 2, (low + high) / 2)
    conditional = weights / sums
    joint = (conditional + conditional.T) / (2 * n)
    return np.asarray(np.maximum(joint, 1e-12))


def _descend(affinity: Points, plane: Points) -> Points:
    """Gradient descent with momentum and a gain per coordinate, as in the paper. [n, n], [n, 2] -> [n, 2]."""
    rate = np.float32(max(len(plane) / EXAGGERATION / 4, 50.0))
    velocity, gain = np.zeros_like(plane), np.ones_like(plane)
    for step in range(STEPS):
        early = step < EXAGGERATED_STEPS
        gradient = _gradient(affinity * np.float32(EXAGGERATION) if early else affinity, plane)
        gain = np.where(velocity * gradient < 0, gain + np.float32(0.2), gain * np.float32(0.8)).clip(0.01)
        velocity = np.float32(0.5 if early else 0.8) * velocity - rate * gain * gradient
        plane = plane + velocity
        plane = plane - plane.mean(axis=0)
    return plane


def _gradient(affinity: Points, plane: Points) -> Points:
    """Of the Kullback-Leibler divergence; [n, n], [n, 2] -> [n, 2]."""
    across = plane[:, 0, None] - plane[None, :, 0]
    down = plane[:, 1, None] - plane[None, :, 1]
    closeness = across * across
    closeness += down * down
    closeness += np.float32(1)
    np.reciprocal(closeness, out=closeness)
    np.fill_diagonal(closeness, 0)
    force = closeness * np.float32(-1 / float(closeness.sum()))
    force += affinity
    force *= closeness
    return np.float32(4) * np.stack([np.einsum("ij,ij->i", force, across), np.einsum("ij,ij->i", force, down)], axis=1)
