"""A picture of who sounds like whom: t-SNE of one vector per utterance, coloured by speaker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from utils.files import atomic_path

MAX_POINTS = 400  # more take long to place and lie on one another
MARKERS = {"female": "o", "male": "^", None: "s"}
VERSION = 1  # of the picture; another number draws it anew
DIGEST = "Source"  # the PNG's text field that says what it was drawn from


def choose_points(counts: Mapping[str, int]) -> dict[str, list[int]]:
    """Speaker -> which of the speaker's utterances to show, by their number from 0: at most MAX_POINTS altogether,
    evenly over the speakers and over each one's utterances.

    counts: speaker -> number of utterances.
    """
    names = sorted(counts)
    if len(names) > MAX_POINTS:
        names = [names[number] for number in np.linspace(0, len(names) - 1, MAX_POINTS).astype(int)]
    quota = MAX_POINTS // len(names)
    return {name: np.linspace(0, counts[name] - 1, min(quota, counts[name])).astype(int).tolist() for name in names}


def plot_speakers(
    path: Path,
    vectors: npt.NDArray[np.float32],
    speakers: Sequence[str],
    sexes: Mapping[str, str | None],
    what: str,
    total: int,
) -> None:
    """Write a PNG of t-SNE in two dimensions; one that shows the same already is left alone.

    vectors: [points, D]; speakers: whose each is; sexes: of every speaker; what: the vectors' name in the title; total:
    number of utterances that the points were chosen from.
    """
    shown = f"{len(speakers)} of {total}" if len(speakers) < total else f"{total}"
    title = f"t-SNE of {what}\n{shown} utterances; round: female, triangle: male"
    facts = [VERSION, title, *(f"{speaker} {sexes[speaker]}" for speaker in speakers)]
    digest = hashlib.sha256(repr(facts).encode() + vectors.tobytes()).hexdigest()
    if path.is_file() and f"{DIGEST}\0{digest}".encode() in path.read_bytes():
        return
    _draw(path, vectors, speakers, sexes, title, digest)


def _draw(
    path: Path,
    vectors: npt.NDArray[np.float32],
    speakers: Sequence[str],
    sexes: Mapping[str, str | None],
    title: str,
    digest: str,
) -> None:
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    from preprocessor.tsne import project

    points = project(vectors)
    owners = np.array(speakers)
    names = sorted(set(speakers))
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(names):
        mine = points[owners == name]
        colour = colormaps["turbo"]((number + 0.5) / len(names))
        axes.scatter(
            mine[:, 0], mine[:, 1], s=22, color=colour, marker=MARKERS[sexes[name]], label=name, edgecolors="none"
        )
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.legend(loc="outside right upper", fontsize=8, ncols=1 + len(names) // 28)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None, DIGEST: digest})
