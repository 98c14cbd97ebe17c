"""Judges of other packages, with strict stand-ins in their place."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from errors import UserError
from evaluate import build_parser
from evaluation.outside_judges import JUDGES
from tests.outside_packages import PACKAGES, install
from utils.metadata import Entry

WAV = (0.01 * np.sin(np.arange(22050) / 20)).astype(np.float32)
DISGUST = Entry("disgust-normal-01-01-Actor_01", "Actor_01", ("K",), "Kids are talking by the door")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(install(tmp_path / "packages")))
    yield
    forget()


def forget():
    for name in PACKAGES:
        sys.modules.pop(name, None)


def entry(emotion, text=DISGUST.text, language="en"):
    return Entry(f"{emotion}-normal-01-01-Actor_01", "Actor_01", ("K",), text, language)


def test_words_are_counted_and_only_english_ones(installed):
    judge = JUDGES["whisper"]("cpu")
    assert judge.judge(WAV, 22050, DISGUST) == {"whisper_words": pytest.approx(5 / 6)}
    assert judge.judge(WAV, 22050, entry("sad", "Kinder", "de")) == {"whisper_words": None}
    assert judge.judge(WAV, 22050, entry("sad", "...")) == {"whisper_words": None}


@pytest.mark.parametrize(
    ("emotion", "right"), [("disgust", 1.0), ("disgusted", 1.0), ("happy", 0.0), ("calm", None), ("none", None)]
)
def test_emotions_are_called_as_emotion2vec_calls_them(installed, emotion, right):
    assert JUDGES["emotion2vec"]("cpu").judge(WAV, 22050, entry(emotion)) == {"emotion2vec_right": right}


def test_a_score_is_of_the_waveform_at_16_kilohertz(installed):
    judge = JUDGES["utmos"]("cpu")
    quiet, loud = (judge.judge(gain * WAV, 22050, DISGUST)["utmos"] for gain in (1.0, 2.0))
    assert quiet == pytest.approx(1 + 100 * 0.01 / 2**0.5, rel=0.02) and loud - 1 == pytest.approx(2 * (quiet - 1))


@pytest.mark.parametrize("name", list(JUDGES))
def test_what_is_not_installed_is_said_with_the_command(name):
    if find_spec(JUDGES[name].package):
        pytest.skip(f"{JUDGES[name].package} is installed")
    with pytest.raises(UserError, match="is not installed: pip install"):
        JUDGES[name]("cpu")


def test_anothers_faults_are_one_line(tmp_path, monkeypatch):
    broken = install(
        tmp_path / "packages",
        whisper="def load_model(name, device=None):\n    raise ConnectionError('no route\\nto host')",
        utmos_pytorch="class UTMOSScoreTorch:\n    def __init__(self, device): pass\n"
        "    def score(self, wavs): raise RuntimeError('too short')",
    )
    monkeypatch.syspath_prepend(str(broken))
    with pytest.raises(UserError, match=r"Whisper could not be loaded \(ConnectionError: no route\); mend that"):
        JUDGES["whisper"]("cpu")
    with pytest.raises(UserError, match=r"Utmos failed at Actor_01/disgust-normal-01-01-Actor_01 \(RuntimeError: too"):
        JUDGES["utmos"]("cpu").judge(WAV, 22050, DISGUST)
    forget()


def test_the_script_knows_them_all():
    (action,) = (each for each in build_parser()._actions if each.dest == "judges")
    assert action.choices == list(JUDGES)
