"""Spectrogram pictures: what is where, and that matplotlib stays out of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from utils.picture import mel_picture, nice_ticks, save_picture


def ramp(frames):
    """Louder with time and with the band."""
    return np.add.outer(np.linspace(-10.0, -2.0, frames), np.linspace(0.0, 2.0, 80)).astype(np.float32)


def test_colours_follow_the_spectrogram():
    pixels = np.asarray(mel_picture([("title", ramp(100))], 0.0116)).astype(int)
    assert pixels.shape[1] == 990
    left, right = pixels[120, 60], pixels[120, 870]  # inside the panel
    assert left[0] < 90 and left[2] > 60  # the dark violet of what is quiet
    assert right[0] > 150 and right[1] > 200 and right[2] < 90  # the yellow of what is loud
    low, high = pixels[220, 450], pixels[40, 450]
    assert high.sum() > low.sum()  # high bands on top
    assert (pixels[:, :50] < 100).any() and (pixels[-40:] < 100).any()  # axes: bands and time


def test_panels_share_the_time_axis():
    """The second panel is half as long: white from its middle on."""
    pixels = np.asarray(mel_picture([("long", ramp(100)), ("short", ramp(50))], 0.0116))
    top = 28 + 228  # of the second panel
    panel = pixels[top + 5 : top + 195, 57:880]
    assert (panel[:, 430:] == 255).all() and not (panel[:, :400] == 255).all(axis=2).any()


@pytest.mark.parametrize("panels", [[("", ramp(1))], [("flat", np.zeros((7, 80), np.float32))], [("日本", ramp(5000))]])
def test_odd_spectrograms_are_drawn(panels, tmp_path):
    save_picture(mel_picture(panels * 3, 0.0116, columns=2, width=1210), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.format == "PNG" and picture.size[0] == 1210
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4), st.integers(2, 12))
def test_ticks_lie_inside_and_are_round(low, span, most):
    high = low + span
    ticks = nice_ticks(low, high, most)
    assert len(ticks) <= most
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in ticks)
    if len(ticks) > 1:
        step = ticks[1] - ticks[0]
        assert np.allclose(np.diff(ticks), step, rtol=1e-3)
        assert f"{step:.3e}".rstrip("0").replace("e", "")[0] in "125"
