"""Alignments to look at: waveform, spectrogram and the boundaries of words and phones, one PNG per utterance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from errors import UserError
from preprocessor.align_report import Report
from preprocessor.align_tasks import Task
from preprocessor.alignment import SILENCES, Interval, read_intervals
from preprocessor.outputs import make_folder
from preprocessor.parallel import ordered_map
from text.cleaners import to_ascii

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WINDOW, HOP = 0.025, 0.0025  # seconds of the spectrogram's frames: short enough to see where a stop bursts
TOP = 8000.0  # Hz shown
RANGE_DB = 70.0  # of the spectrogram's grey scale
INCHES = 5.0  # of width per second
MARGIN = 0.25  # seconds shown before the first and after the last phone
LINE, SPAN = "#c02020", "#2060c0"  # boundaries; where the audio is loud


@dataclass(frozen=True)
class Picture:
    """One figure to draw. Small and picklable."""

    task: Task
    path: Path
    note: str  # why it was chosen, for the title


def choose(report: Report, tasks: Sequence[Task], count: int, folder: Path) -> list[Picture]:
    """`count` utterances evenly spread over the corpus, and of those that look odd: as many of the retried ones and of
    those with a loud pause, and the one with the longest phone.
    """
    labels = {task.label: task for task in tasks}
    names = [outcome.name for outcome, _ in report.aligned]
    notes: dict[str, list[str]] = {name: [] for name in _spread(names, count)}
    retried = report.retried
    for name in _spread(list(retried), count):
        notes.setdefault(name, []).append(f"aligned at {retried[name]:g} of its speed")
    loud = report.loud_pauses
    for name in _spread(list(loud), count):
        notes.setdefault(name, []).append(f"a pause as loud as speech ({loud[name]:g} dB)")
    if names:
        longest, grid = max(report.aligned, key=lambda item: item[1].longest)
        notes.setdefault(longest.name, []).append(f"longest phone of all: {grid.longest} ms")
    return [
        Picture(labels[name], folder / f"{name.replace('/', '_')}.png", "; ".join(notes[name]))
        for name in sorted(notes)
    ]


def _spread(names: Sequence[str], count: int) -> list[str]:
    """The middles of `count` equal parts."""
    count = min(count, len(names))
    return [names[(2 * index + 1) * len(names) // (2 * count)] for index in range(count)]


def draw_all(pictures: Sequence[Picture], folder: Path, jobs: int) -> Iterator[Path]:
    """Draw them, and remove the PNGs of earlier runs from `folder`."""
    make_folder(folder)
    for path in set(folder.glob("*.png")) - {picture.path for picture in pictures}:
        with suppress(OSError):
            path.unlink()
    return ordered_map(draw, pictures, jobs, preload=("matplotlib.figure", "soundfile"))


def draw(picture: Picture) -> Path:
    """Write one figure. Raises UserError where that is not possible."""
    from preprocessor.align_corpus import load_recording
    from utils.plot import save_figure

    wav, sampling_rate = load_recording(picture.task)
    phones = read_intervals(picture.task.textgrid_path)
    try:
        words = read_intervals(picture.task.textgrid_path, "words")
    except UserError:
        words = []
    title = to_ascii(f"{picture.task.label}    {picture.task.text}")
    save_figure(figure(wav, sampling_rate, phones, words, title, picture.note), picture.path)
    return picture.path


def figure(
    wav: npt.NDArray[np.float32],
    sampling_rate: int,
    phones: Sequence[Interval],
    words: Sequence[Interval],
    title: str,
    note: str = "",
) -> Figure:
    """Waveform above, spectrogram below, on one time axis.

    wav: [samples]. phones, words: labelled intervals in seconds. Phones stand between the panels and words above
    them; red lines are boundaries, the blue bar is where the audio is loud (preprocessor/speech_span.py).
    """
    from matplotlib.figure import Figure

    spoken = [interval for interval in phones if interval[2] not in SILENCES]
    start = max(0.0, spoken[0][0] - MARGIN) if spoken else 0.0
    end = min(len(wav) / sampling_rate, spoken[-1][1] + MARGIN) if spoken else len(wav) / sampling_rate
    width = min(60.0, max(9.0, INCHES * (end - start)))
    drawn = Figure(figsize=(width, 6.4), layout="constrained")
    wave, labels, spectrum = drawn.subplots(3, 1, sharex=True, height_ratios=(2.0, 1.2, 4.0))
    drawn.suptitle(title + (f"\n{note}" if note else ""), fontsize=11, x=0.01, ha="left")
    _wave(wave, wav, sampling_rate, spoken)
    # romanised: matplotlib's font has no other scripts than Latin
    _labels(labels, phones, [(a, b, to_ascii(word).strip()) for a, b, word in words if word not in SILENCES])
    _spectrogram(spectrum, wav, sampling_rate, spoken)
    wave.set_xlim(start, end)
    return drawn


def _wave(axis: Axes, wav: npt.NDArray[np.float32], sampling_rate: int, spoken: Sequence[Interval]) -> None:
    from preprocessor.speech_span import speech_span

    axis.plot(np.arange(len(wav)) / sampling_rate, wav, color="#303030", linewidth=0.4)
    _boundaries(axis, spoken)
    span = speech_span(wav, sampling_rate)
    if span is not None:
        axis.axvspan(*span, ymin=0.0, ymax=0.04, color=SPAN, linewidth=0)
    axis.set_ylabel("amplitude")
    axis.margins(y=0.08)


def _labels(axis: Axes, phones: Sequence[Interval], words: Sequence[Interval]) -> None:
    """Words above phones, whose labels take turns in height: 30 ms are narrower than three letters."""
    axis.set_ylim(0.0, 2.6)
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
    for row, top, intervals in ((0.0, 1.5, phones), (1.6, 2.6, words)):
        for index, (begin, stop, label) in enumerate(intervals):
            axis.plot((begin, begin), (row, top), color=LINE, linewidth=0.8)
            axis.plot((stop, stop), (row, top), color=LINE, linewidth=0.8)
            height = (0.4 + 0.7 * (index % 2)) if intervals is phones else 2.1
            axis.text(
                (begin + stop) / 2, height, label, ha="center", va="center", clip_on=True,
                fontsize=9 if intervals is phones else 11, color="#909090" if label in SILENCES else "black",
            )  # fmt: skip


def _spectrogram(axis: Axes, wav: npt.NDArray[np.float32], sampling_rate: int, spoken: Sequence[Interval]) -> None:
    power = _power(wav, sampling_rate)  # [frames, bins]
    level = 10 * np.log10(power + 1e-12)
    high = float(level.max())
    extent = (0.0, len(level) * HOP, 0.0, sampling_rate / 2)
    axis.imshow(
        level.T, origin="lower", aspect="auto", cmap="gray_r", vmin=high - RANGE_DB, vmax=high, extent=extent,
        interpolation="bilinear",
    )  # fmt: skip
    _boundaries(axis, spoken)
    axis.set_ylim(0, min(TOP, sampling_rate / 2))
    axis.set_ylabel("frequency (Hz)")
    axis.set_xlabel("time (s)")


def _power(wav: npt.NDArray[np.float32], sampling_rate: int) -> npt.NDArray[np.float64]:
    """Power spectrum [frames, bins], a frame every HOP seconds centred on its time; high frequencies raised."""
    size, hop = round(WINDOW * sampling_rate), HOP * sampling_rate
    emphasised = np.append(wav[:1], wav[1:] - 0.97 * wav[:-1])
    padded = np.pad(emphasised, size // 2 + 1)
    starts = np.round(np.arange(int(len(wav) / hop) + 1) * hop).astype(int)
    frames = np.stack([padded[start : start + size] for start in starts if start + size <= len(padded)])
    return np.abs(np.fft.rfft(frames * np.hanning(size), n=2048)) ** 2


def _boundaries(axis: Axes, intervals: Sequence[Interval]) -> None:
    for time in sorted({time for begin, stop, _ in intervals for time in (begin, stop)}):
        axis.axvline(time, color=LINE, linewidth=0.6, alpha=0.8)
