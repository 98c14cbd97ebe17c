"""A picture of who sounds like whom: t-SNE of one vector per utterance, coloured by speaker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from utils.files import atomic_path

MAX_POINTS = 400  # t-SNE of 1,320 points takes longer than all the rest of preprocessing
MARKERS = {"female": "o", "male": "^", None: "s"}


def plot_speakers(
    path: Path,
    vectors: npt.NDArray[np.float32],
    speakers: Sequence[str],
    sexes: dict[str, str | None],
    what: str,
    seed: int,
) -> None:
    """Write a PNG of t-SNE (van der Maaten & Hinton 2008) in two dimensions.

    vectors: [utterances, D]; speakers: whose each is; sexes: of every speaker; what: the vectors' name in the title.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    chosen = _spread(speakers)
    points = _project(vectors[chosen], seed)
    owners = np.array(speakers)[chosen]
    names = sorted(set(owners))
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(names):
        mine = points[owners == name]
        colour = colormaps["turbo"]((number + 0.5) / len(names))
        axes.scatter(
            mine[:, 0], mine[:, 1], s=22, color=colour, marker=MARKERS[sexes[name]], label=name, edgecolors="none"
        )
    shown = f"{len(chosen)} of {len(speakers)}" if len(chosen) < len(speakers) else f"{len(speakers)}"
    axes.set_title(f"t-SNE of {what}\n{shown} utterances; round: female, triangle: male", fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.legend(loc="outside right upper", fontsize=8, ncols=1 + len(names) // 28)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})


def _spread(speakers: Sequence[str]) -> npt.NDArray[np.int64]:
    """Indices of at most MAX_POINTS utterances, evenly over the speakers and over each one's utterances."""
    owners = np.array(speakers)
    names = sorted(set(speakers))
    quota = max(1, MAX_POINTS // len(names))
    picked = []
    for name in names:
        own = np.flatnonzero(owners == name)
        picked.append(own[np.linspace(0, len(own) - 1, min(quota, len(own))).astype(np.int64)])
    return np.sort(np.concatenate(picked))


def _project(vectors: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float64]:
    """[n, D] -> [n, 2]."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    if len(vectors) < 5:  # too few for neighbourhoods: the two directions of largest spread
        centred = vectors.astype(np.float64) - vectors.mean(axis=0)
        left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
        flat = np.zeros((len(vectors), 2))
        flat[:, : min(2, len(sizes))] = (left * sizes)[:, :2]
        return flat
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    spread = np.maximum(vectors.std(axis=0), 1e-8)
    with threadpool_limits(1):  # its threads wait for one another more than they work, and one thread is repeatable
        model = TSNE(2, perplexity=perplexity, max_iter=500, init="pca", random_state=seed)
        return np.asarray(model.fit_transform((vectors - vectors.mean(axis=0)) / spread), dtype=np.float64)
