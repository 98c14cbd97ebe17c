"""A picture of who sounds like whom: t-SNE of one vector per utterance, coloured by speaker."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from utils.files import atomic_path
from utils.picture import text_font

if TYPE_CHECKING:
    from PIL import ImageDraw

MAX_POINTS = 400  # more take long to place and lie on one another
VERSION = 2  # of the picture; another number draws it anew
DIGEST = "Source"  # the PNG's text field that says what it was drawn from
# Lengths in pixels.
_FIELD = (800, 640)  # of the points
_FINER = 3  # points are drawn this much larger, then shrunk: smooth edges
_EDGE, _RADIUS, _PAD = 16, 4, 12
_TITLE, _LINE, _COLUMN = 60, 20, 150


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
    """With Pillow: matplotlib would cost more than the features of a hundred utterances."""
    from PIL import Image, ImageDraw
    from PIL.PngImagePlugin import PngInfo

    from preprocessor.tsne import project

    points = project(vectors)
    low, high = points.min(axis=0), points.max(axis=0)
    places = _EDGE + (points - low) / np.maximum(high - low, 1e-9) * (
        np.array(_FIELD) - 2 * _EDGE
    )  # [points, 2] pixels
    colours = _colours(sorted(set(speakers)))
    fine = Image.new("RGB", (_FIELD[0] * _FINER, _FIELD[1] * _FINER), "white")
    draw = ImageDraw.Draw(fine)
    for speaker, place in zip(speakers, places, strict=True):
        _mark(draw, place * _FINER, _RADIUS * _FINER, sexes[speaker], colours[speaker])
    per_column = (_FIELD[1] - 2 * _PAD) // _LINE
    columns = -(-len(colours) // per_column)
    picture = Image.new("RGB", (_FIELD[0] + 2 * _PAD + columns * _COLUMN, _FIELD[1] + _TITLE + _PAD), "white")
    picture.paste(fine.resize(_FIELD, Image.Resampling.BOX), (_PAD, _TITLE))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((_PAD, _TITLE, _PAD + _FIELD[0], _TITLE + _FIELD[1]), outline="black")
    draw.multiline_text((_PAD, _PAD), title, "black", text_font())
    for number, (name, colour) in enumerate(colours.items()):
        column, row = divmod(number, per_column)
        x, y = _FIELD[0] + 3 * _PAD + column * _COLUMN, _TITLE + _PAD + row * _LINE + _LINE // 2
        _mark(draw, np.array([x, y]), _RADIUS, sexes[name], colour)
        draw.text((x + _PAD, y), name, "black", text_font(), anchor="lm")
    facts = PngInfo()
    facts.add_text(DIGEST, digest)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", pnginfo=facts)


def _colours(names: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Name -> RGB: hues once round the circle, every other one darker, so that neighbours differ."""
    shades = [colorsys.hsv_to_rgb(number / len(names), 0.8, (0.9, 0.6)[number % 2]) for number in range(len(names))]
    return {
        name: (round(255 * r), round(255 * g), round(255 * b)) for name, (r, g, b) in zip(names, shades, strict=True)
    }


def _mark(
    draw: ImageDraw.ImageDraw, place: npt.NDArray[Any], radius: float, sex: str | None, colour: tuple[int, int, int]
) -> None:
    """A circle, a triangle or a square."""
    x, y = (float(value) for value in place)
    if sex == "female":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    elif sex == "male":
        draw.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=colour)
    else:
        draw.rectangle((x - radius, y - radius, x + radius, y + radius), fill=colour)
