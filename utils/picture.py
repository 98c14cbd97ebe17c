"""Spectrograms as pictures with axes, drawn in a few milliseconds.

`utils.plot` does the same with matplotlib, whose import alone costs half a second: too much for a script that speaks
one sentence, and its drawing too much for one that speaks thousands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.files import atomic_path

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

# every 15th colour of viridis (van der Walt & Smith, CC0); what lies between is interpolated
_VIRIDIS = (
    "440154 481769 472a7a 433d84 3d4e8a 355e8d 2e6d8e 297b8e 23898e 1f978b 21a585 2eb37c 46c06f 65cb5e 89d548 b0dd2f "
    "d8e219 fde725"
)
# Lengths in pixels.
_PANEL_HEIGHT = 200
_LEFT, _TOP, _BETWEEN = 56, 28, 16  # room for the axis of mel bands, for a title, between two columns
_BOTTOM = 50  # room for the axis of time
_RIGHT, _BAR_WIDTH, _BAR_GAP = 66, 18, 24  # room for the colour bar's axis; the bar; between it and the panels
_TICK, _PAD = 4, 4
_TEXT_SIZE = 14


def mel_picture(
    panels: Sequence[tuple[str, np.ndarray]], seconds_per_frame: float, columns: int = 1, width: int = 990
) -> Image.Image:
    """Panels of (title, log-mel [T, bands]), T above 0, that share one colour scale and one time axis.

    The picture is `width` pixels wide, and 200 high for each row of panels but for titles and axes.
    """
    from PIL import Image, ImageDraw

    rows = -(-len(panels) // columns)
    low = min(float(np.percentile(mel, 2)) for _, mel in panels)
    high = max(low + 1e-6, *(float(mel.max()) for _, mel in panels))
    longest = max(len(mel) for _, mel in panels) * seconds_per_frame
    step = _PANEL_HEIGHT + _TOP
    picture = Image.new("RGB", (width, rows * step + _BOTTOM), "white")
    draw = ImageDraw.Draw(picture)
    panel_width = (width - _LEFT - _RIGHT - _BAR_WIDTH - _BAR_GAP + _BETWEEN) // columns - _BETWEEN
    for index, (title, mel) in enumerate(panels):
        row, column = divmod(index, columns)
        left, top = _LEFT + column * (panel_width + _BETWEEN), _TOP + row * step
        box = (left, top, left + panel_width, top + _PANEL_HEIGHT)
        _panel(picture, box, title, _colours(mel.T[::-1], low, high), len(mel) * seconds_per_frame / longest)
        _time_axis(draw, box, longest, labelled=index + columns >= len(panels))
        _vertical_axis(picture, box, (0.0, float(mel.shape[1])), "mel band" if column == 0 else None)
    bar_left = width - _RIGHT - _BAR_WIDTH
    box = (bar_left, _TOP, bar_left + _BAR_WIDTH, rows * step)
    shades = np.linspace(high, low, box[3] - box[1])[:, None]
    _panel(picture, box, "", _colours(shades, low, high), 1.0)
    _vertical_axis(picture, box, (low, high), "log magnitude", on_the_right=True)
    return picture


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG atomically."""
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", compress_level=4)


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` (at least 2) round numbers from `low` to `high`: 1, 2, 2.5 or 5 times a power of ten apart."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 2.5, 5, 10, 20):
        step = power * factor
        numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
        if len(numbers) <= most:
            break
    return [step * number for number in numbers]


def _colours(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """[height, width] -> [height, width, 3] uint8; values outside `low` … `high` get its end's colour."""
    scaled = ((values - low) * (255.0 / (high - low))).clip(0.0, 255.0)
    colours: np.ndarray = _palette()[scaled.astype(np.uint8)]
    return colours


@lru_cache(maxsize=1)
def _palette() -> np.ndarray:
    """[256, 3] uint8."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in _VIRIDIS.split()], dtype=np.float64)
    positions = np.linspace(0, 255, len(anchors))
    channels = [np.interp(np.arange(256), positions, anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


@lru_cache(maxsize=1)
def text_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """matplotlib's own font, read without importing matplotlib; Pillow's where it is missing."""
    from PIL import ImageFont

    spec = find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), _TEXT_SIZE)
    return ImageFont.load_default(_TEXT_SIZE)


Box = tuple[int, int, int, int]  # left, top, right, bottom


def _panel(picture: Image.Image, box: Box, title: str, colours: np.ndarray, share: float) -> None:
    """`colours` over `share` of the box's width, with a frame and a title."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = box
    size = max(1, round((right - left) * share)), bottom - top
    picture.paste(Image.fromarray(np.ascontiguousarray(colours)).resize(size, Image.Resampling.BOX), (left, top))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left - 1, top - 1, right, bottom), outline="black")
    draw.text((left, top - 2 * _PAD), title, "black", text_font(), anchor="ls")


def _time_axis(draw: ImageDraw.ImageDraw, box: Box, seconds: float, labelled: bool) -> None:
    left, _, right, bottom = box
    ticks = nice_ticks(0.0, seconds, max(2, (right - left) // 90))
    for tick in ticks:
        x = left + round((right - left) * tick / seconds)
        draw.line((x, bottom, x, bottom + _TICK), "black")
        if labelled:
            draw.text((x, bottom + _TICK + _PAD), _label(tick, ticks), "black", text_font(), anchor="mt")
    if labelled:
        middle = (left + right) // 2
        draw.text((middle, bottom + _TICK + 2 * _PAD + _TEXT_SIZE), "time (s)", "black", text_font(), anchor="mt")


def _vertical_axis(
    picture: Image.Image, box: Box, limits: tuple[float, float], label: str | None, on_the_right: bool = False
) -> None:
    """Ticks from `limits`, bottom to top, with their numbers unless there is no `label`."""
    from PIL import Image, ImageDraw

    draw, font = ImageDraw.Draw(picture), text_font()
    left, top, right, bottom = box
    low, high = limits
    edge, direction = (right, 1) if on_the_right else (left - 1, -1)
    ticks = nice_ticks(low, high, max(2, (bottom - top) // 36))
    for tick in ticks:
        y = bottom - round((bottom - top) * (tick - low) / (high - low))
        draw.line((edge, y, edge + direction * _TICK, y), "black")
        if label is not None:
            place = (edge + direction * (_TICK + _PAD), y)
            draw.text(place, _label(tick, ticks), "black", font, anchor="lm" if on_the_right else "rm")
    if label is not None:
        length = round(font.getlength(label)) + 2
        text = Image.new("L", (length, _TEXT_SIZE + _PAD), 255)
        ImageDraw.Draw(text).text((1, 1), label, 0, font, anchor="lt")
        x = picture.width - _TEXT_SIZE - _PAD if on_the_right else _PAD // 2
        picture.paste(text.rotate(90, expand=True).convert("RGB"), (x, (top + bottom - length) // 2))


def _label(tick: float, ticks: Sequence[float]) -> str:
    """`tick` with as many decimals as tell all `ticks` apart and leave nothing out."""
    decimals = next((count for count in range(8) if all(abs(t - round(t, count)) < 1e-9 for t in ticks)), 8)
    return f"{tick + 0.0:.{decimals}f}".replace("-", "\N{MINUS SIGN}")
