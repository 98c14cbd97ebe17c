"""TextGrids -> phones and durations."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from preprocessor.alignment import SILENCES, read_alignment
from tests.paths import golden, real_data
from tests.small_corpus import textgrid


def write(tmp_path, intervals, **kwargs):
    path = tmp_path / "a.TextGrid"
    path.write_text(textgrid(intervals, **kwargs), encoding="utf-8")
    return path


def test_golden_alignment(parity):
    cases = json.loads(golden("alignment.json").read_text(encoding="utf-8"))
    for case in cases["cases"]:
        result = read_alignment(golden(case["file"]), cases["sr"], cases["hop"])
        assert list(result.phones) == case["phones"], case["file"]
        frames = np.abs(result.durations - np.array(case["durations"])).max(initial=0)
        seconds = max(abs(result.start - case["start"]), abs(result.end - case["end"]))
        parity("alignment", "durations (frames)", float(frames))
        parity("alignment", "start, end (s)", seconds)
        assert result.durations.tolist() == case["durations"], case["file"]
        assert (result.start, result.end) == (case["start"], case["end"]), case["file"]


@given(st.lists(st.tuples(st.integers(1, 400), st.sampled_from(["K", "AA1", "sp", "sil"])), min_size=1, max_size=12))
def test_durations_add_up_to_the_frames_between_start_and_end(tmp_path_factory, parts):
    intervals, time = [], 0
    for milliseconds, label in parts:
        intervals.append((time / 1000, (time + milliseconds) / 1000, label))
        time += milliseconds
    result = read_alignment(write(tmp_path_factory.mktemp("grid"), intervals), 22050, 256)
    frames = np.round(np.array([result.start, result.end]) * 22050 / 256)
    assert result.durations.sum() == frames[1] - frames[0] and (result.durations >= 0).all()
    if result.phones:
        assert result.phones[0] not in SILENCES and result.phones[-1] not in SILENCES
    else:
        assert (result.start, result.end) == (0, 0) and all(label in SILENCES for _, label in parts)


def test_unlabelled_gaps_become_pauses_when_asked(tmp_path):
    path = write(tmp_path, [(0, 0.2, ""), (0.2, 0.4, "K"), (0.4, 0.6, ""), (0.6, 0.9, "D"), (0.9, 1.0, "")])
    assert read_alignment(path, 100, 1).durations.tolist() == [20, 30]
    filled = read_alignment(path, 100, 1, fill_gaps=True)
    assert filled.phones == ("K", "sp", "D") and filled.durations.tolist() == [20, 20, 30]


GOOD = [(0, 0.5, "K"), (0.5, 1.0, "D")]
DAMAGED = {
    "no phones tier": (textgrid(GOOD, tier="words"), "no `phones` tier, only words"),
    "reversed": (textgrid([(0, 0.5, "K"), (0.9, 0.6, "D")], end=1), "cannot occur after"),
    "overlapping": (textgrid([(0, 0.5, "K"), (0.4, 1.0, "D")]), "overlap"),
    "negative": (textgrid([(-0.2, 0.5, "K"), (0.5, 1.0, "D")]), "negative"),
    "empty interval": (textgrid([(0, 0, "K"), (0, 1.0, "D")]), "not a usable"),
    "cut off in an interval": (textgrid(GOOD)[:-30], "not a usable"),
    "cut off between intervals": (textgrid(GOOD).split("        intervals [2]")[0], "cut off: 1 intervals of 2"),
    "no TextGrid": ("hello", "not a usable TextGrid"),
    "empty": ("", "not a usable TextGrid"),
    "binary": ("\x00\x01\x02" * 99, "not a usable TextGrid"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_textgrids_are_named(tmp_path, case):
    content, reason = DAMAGED[case]
    (tmp_path / "bad.TextGrid").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=rf"bad\.TextGrid.*{reason}"):
        read_alignment(tmp_path / "bad.TextGrid", 22050, 256)


def test_a_missing_textgrid_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.TextGrid: no such TextGrid"):
        read_alignment(tmp_path / "nowhere.TextGrid", 22050, 256)


@pytest.mark.data
def test_every_real_alignment_has_the_sentence():
    for path in sorted(real_data("TextGrid").glob("Actor_0[12]/*.TextGrid")):
        spoken = [phone for phone in read_alignment(path, 22050, 256).phones if phone not in SILENCES]
        assert len(spoken) == 18, path
