"""Pictures of alignments: which are drawn, and that what they show lies where it is."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from preprocessor.align_plot import HOP, _power, choose, figure
from preprocessor.align_report import Examined, Outcome, Report
from preprocessor.align_tasks import Task
from preprocessor.textgrid_writer import Interval, write_textgrid
from tests.aligning import KIDS, align, contents, write_raw

RATE = 16000
PHONES = [(0.3, 0.5, "K"), (0.5, 0.7, "AA1"), (0.7, 0.9, "sp"), (0.9, 1.2, "R")]
WORDS = [(0.3, 0.7, "ca"), (0.9, 1.2, "r")]


def tone(frequency: float, seconds: float = 1.5) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3500.0])
def test_the_spectrogram_shows_a_tone_where_it_is(frequency):
    wav = tone(frequency)
    wav[: RATE // 2] = 0  # begins at half a second
    power = _power(wav, RATE)
    assert len(power) == 1.5 / HOP + 1
    assert power[int(1.0 / HOP)].argmax() * RATE / 2048 == pytest.approx(frequency, abs=10)
    loud = np.flatnonzero(power.sum(axis=1) > power.sum(axis=1).max() / 4)
    assert loud[0] * HOP == pytest.approx(0.5, abs=0.011)


def lines(figure: Figure, axis: int) -> list[float]:
    times = [np.asarray(line.get_xdata(), dtype=float) for line in figure.axes[axis].lines]
    return sorted({float(time[0]) for time in times if len(set(time)) == 1})


def test_boundaries_and_labels_lie_where_the_textgrid_has_them():
    drawn = figure(tone(500), RATE, [(0.0, 0.3, "sil"), *PHONES, (1.2, 1.5, "sil")], WORDS, "a title", "a note")
    boundaries = [0.3, 0.5, 0.7, 0.9, 1.2]
    assert lines(drawn, 0) == lines(drawn, 2) == boundaries  # waveform and spectrogram
    texts = {(text.get_text(), round(text.get_position()[0], 3)) for text in drawn.axes[1].texts}
    assert texts >= {("K", 0.4), ("AA1", 0.6), ("sp", 0.8), ("R", 1.05), ("ca", 0.5), ("r", 1.05)}
    low, high = drawn.axes[0].get_xlim()
    assert low < 0.3 and high > 1.2
    drawn.canvas.draw()
    boxes = [text.get_window_extent() for text in drawn.axes[1].texts if low <= text.get_position()[0] <= high]
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])
    assert "a title" in drawn.get_suptitle() and "a note" in drawn.get_suptitle()


def report_of(odd: dict[int, dict[str, Any]], count: int = 20) -> tuple[Report, list[Task]]:
    usual = Examined(
        start=0.3,
        end=1.2,
        phones=3,
        short=0,
        long=0,
        longest=200,
        loud_pause=None,
        speed=1.0,
        problem=None,
        other=False,
    )
    outcomes = [Outcome("A/broken", failure="why")]
    outcomes += [Outcome(f"A/{n:02d}", grid=replace(usual, **odd.get(n, {}))) for n in range(count)]
    path = Path()
    names = [outcome.name.split("/") for outcome in outcomes]
    return Report(outcomes), [Task(speaker, name, path, path, KIDS, "en", (), None, False) for speaker, name in names]


def test_some_from_everywhere_and_those_that_look_odd():
    odd = {3: {"speed": 0.85}, 8: {"loud_pause": -2.0}, 12: {"longest": 900}}
    report, tasks = report_of(odd)
    pictures = choose(report, tasks, 4, Path("plots"))
    names = [picture.task.name for picture in pictures]
    assert names == ["02", "03", "07", "08", "12", "17"]  # 2, 7, 12 and 17 are spread evenly
    notes = {picture.task.name: picture.note for picture in pictures}
    assert "0.85" in notes["03"] and "-2 dB" in notes["08"] and "900 ms" in notes["12"] and not notes["02"]
    assert [len(choose(*report_of({}, count=3), number, Path())) for number in (1, 3, 50)] == [2, 3, 3]
    many = {n: {"speed": 0.85} for n in range(0, 20, 2)}
    assert len(choose(*report_of(many), 2, Path())) == 2 + 2 + 1  # however many are odd
    assert choose(Report([Outcome("A/broken", failure="why")]), tasks, 3, Path()) == []


def test_pictures_are_drawn_beside_the_report(tmp_path):
    labels = [f"A/none-{number}" for number in range(6)]
    write_raw(tmp_path / "raw", dict.fromkeys(labels, KIDS))
    for label in labels:
        words, phones = ([Interval(*interval) for interval in tier] for tier in (WORDS, PHONES))
        write_textgrid(tmp_path / "out" / "TextGrid" / f"{label}.TextGrid", words, phones, 2.0)
    plots = tmp_path / "out" / "align_plots"
    result = align(tmp_path / "raw", tmp_path / "out", "--jobs", "1", "--plot", 1)
    assert result.returncode == 0, result.stderr
    names = [path.name for path in sorted(plots.iterdir())]
    assert names == ["A_none-0.png", "A_none-3.png"]  # all are alike: the first has the longest phone
    assert "drew 2 alignments" in result.stdout
    assert all((plots / name).read_bytes().startswith(b"\x89PNG") for name in names)
    before = contents(plots)
    shutil.copy(plots / names[0], plots / "A_of-an-earlier-run.png")
    assert align(tmp_path / "raw", tmp_path / "out", "--jobs", "1", "--plot", 1).returncode == 0
    assert contents(plots) == before
