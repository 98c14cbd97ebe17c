"""The pocketsphinx aligner by itself, what checks it, and what it makes of real recordings."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from praatio import textgrid

import audio
from preprocessor.align_tasks import AlignmentError, SpokenWord
from preprocessor.pocketsphinx_aligner import RATES, PocketsphinxAligner, frame_start, speed_of
from preprocessor.speech_span import LOUD_PAUSE_DB, loudest_pause, speech_span
from preprocessor.textgrid_writer import Interval, fill_silences
from tests.aligning import align, contents
from tests.paths import real_data
from tests.sample import sample_corpus, utterances_of, write_raw_data
from text.g2p import EnglishG2P

SOME = (
    "neutral-normal-01-01-Actor_01", "happy-normal-02-01-Actor_01", "sad-normal-01-01-Actor_01",
    "angry-normal-01-01-Actor_02", "calm-normal-02-01-Actor_02",
)  # fmt: skip


@pytest.fixture(scope="module")
def recordings() -> list[tuple[np.ndarray, list[SpokenWord]]]:
    """Generated ones, with their words."""
    corpus, g2p = utterances_of(sample_corpus()), EnglishG2P()
    return [
        (
            audio.load(corpus[name].audio_path, 22050),
            [SpokenWord(word.text, word.phones) for word in g2p(corpus[name].text)],
        )
        for name in SOME
    ]


def test_results_do_not_depend_on_what_was_aligned_before(recordings):
    one = PocketsphinxAligner()
    forward = [one.align(wav, 22050, words) for wav, words in recordings]
    noise = np.random.default_rng(0).normal(0, 0.1, 22050).astype(np.float32)
    with pytest.raises(AlignmentError, match="did not reach"):
        one.align(noise[:2000], 22050, recordings[0][1])
    assert [one.align(wav, 22050, words) for wav, words in reversed(recordings)] == forward[::-1]
    assert PocketsphinxAligner().align(recordings[2][0], 22050, recordings[2][1]) == forward[2]


def test_level_does_not_matter_and_delay_shifts_everything(recordings):
    wav, words = recordings[0]
    aligner = PocketsphinxAligner()
    plain = aligner.align(wav, 22050, words)
    assert aligner.align(wav / 64, 22050, words) == plain
    delay = 0.3  # seconds of the same room
    room = np.resize(wav[: int(0.3 * 22050)], int(delay * 22050))
    late = aligner.align(np.concatenate((room, wav)), 22050, words)
    shifts = [b.start - a.start for a, b in zip(plain.phones, late.phones, strict=True)]
    assert np.median(shifts) == pytest.approx(delay, abs=0.011)
    assert max(abs(shift - delay) for shift in shifts) < 0.06


def test_a_lost_word_is_looked_for_at_another_speed(recordings, monkeypatch):
    """The first speed leaves a word in a pause: the second one counts. Where all do, the first is what there is."""
    wav, words = recordings[0]
    whole = PocketsphinxAligner().align(wav, 22050, words)
    assert whole.speed == 1.0
    without = [*words[:2], *words[3:]]  # "Kids are … by the door": talking lies in a pause, whatever the speed
    lost = PocketsphinxAligner().align(wav, 22050, without)
    spans = [(phone.start, phone.end) for phone in lost.phones]
    assert loudest_pause(wav, 22050, spans) > LOUD_PAUSE_DB
    assert lost.speed == 1.0
    monkeypatch.setattr("preprocessor.pocketsphinx_aligner.LOUD_PAUSE_DB", 100.0)
    assert PocketsphinxAligner().align(wav, 22050, without) == lost


@pytest.mark.parametrize("rate", RATES)
def test_the_speed_is_seen_in_the_times(rate):
    frames = np.random.default_rng(rate).integers(20, 400, 18).cumsum() // 4
    assert speed_of([frame_start(int(frame), rate) for frame in frames]) == 16000 / rate
    assert speed_of([round(float(frame) * 0.0125 + 0.0003, 4) for frame in frames]) is None


def test_a_pause_is_as_loud_as_what_lies_in_it():
    wav = np.full(22050, 0.1, dtype=np.float32)
    wav[8820:13230] *= 0.5  # a fifth of a second at -6 dB
    assert loudest_pause(wav, 22050, [(0.0, 0.4), (0.6, 1.0)]) == pytest.approx(-6.02, abs=0.01)
    assert loudest_pause(wav, 22050, [(0.0, 0.4), (0.4, 0.6), (0.6, 1.0)]) is None
    assert loudest_pause(wav, 22050, [(0.0, 0.41), (0.45, 1.0)]) is None  # too short


def test_unusable_words_are_refused(recordings):
    aligner = PocketsphinxAligner()
    wav = recordings[0][0]
    for words, message in (
        ([], "no words"),
        ([SpokenWord("x", ())], "no pronunciation"),
        ([SpokenWord("x", ("AA1", "sp"))], "no phone 'sp'"),
    ):
        with pytest.raises(AlignmentError, match=message):
            aligner.align(wav, 22050, words)
    with pytest.raises(AlignmentError, match="silent"):
        aligner.align(np.zeros_like(wav), 22050, recordings[0][1])


def test_silences_fill_every_gap():
    spoken = [Interval(0.5, 0.7, "K"), Interval(0.7, 0.8, "IH1"), Interval(0.9, 1.0, "D")]
    assert [(interval.start, interval.end, interval.label) for interval in fill_silences(spoken, 1.5, "sil", "sp")] == [
        (0.0, 0.5, "sil"), (0.5, 0.7, "K"), (0.7, 0.8, "IH1"), (0.8, 0.9, "sp"), (0.9, 1.0, "D"), (1.0, 1.5, "sil"),
    ]  # fmt: skip
    tight = [Interval(0.0, 0.5, "K"), Interval(0.5, 1.0, "AA1")]
    assert fill_silences(tight, 1.0, "sil", "sp") == tight


def test_the_energy_span_finds_a_tone_in_noise():
    wav = np.random.default_rng(0).normal(0, 1e-4, 22050).astype(np.float32)
    wav[6000:15000] += 0.2 * np.sin(np.arange(9000)).astype(np.float32)
    assert speech_span(wav, 22050) == pytest.approx((6000 / 22050, 15000 / 22050), abs=0.011)
    assert speech_span(np.zeros(22050, dtype=np.float32), 22050) is None
    assert speech_span(np.zeros(3, dtype=np.float32), 22050) is None


# -------------------------------------------------------------------------------------------- real recordings

RETRIED = "happy-strong-01-01-Actor_06"  # shouted; at its own speed the decoder loses it
LOST = "angry-strong-02-02-Actor_18"  # at its own speed most of "door" is taken for a pause
REAL = [
    "neutral-normal-01-01-Actor_01", "angry-strong-02-01-Actor_03", "sad-strong-01-02-Actor_03",
    "calm-normal-02-02-Actor_04", "calm-strong-01-02-Actor_05", RETRIED, "disgust-strong-02-02-Actor_09",
    "surprised-strong-01-01-Actor_12", "happy-normal-02-01-Actor_14", "fearful-normal-01-01-Actor_19",
    "happy-strong-02-02-Actor_20", "sad-normal-02-01-Actor_22", LOST,
]  # fmt: skip


@pytest.mark.data
def test_real_recordings_agree_with_the_published_alignments(tmp_path):
    corpus = utterances_of(real_data("RAVDESS"))
    published = real_data("TextGrid")
    if missing := [name for name in REAL if name not in corpus]:
        pytest.skip(f"recordings not there: {', '.join(missing)}")
    raw_path = tmp_path / "raw"
    write_raw_data([corpus[name] for name in REAL], raw_path)
    result = align(raw_path, tmp_path, "--jobs", str(min(2, os.cpu_count() or 1)))
    assert result.returncode == 0, result.stderr
    assert f"aligned {len(REAL)} of {len(REAL)}" in result.stdout
    report = json.loads((tmp_path / "align.json").read_text())
    assert 0.7 < report["retried"][f"Actor_06/{RETRIED}"] < 1
    assert 0.7 < report["retried"][f"Actor_18/{LOST}"] < 1 and not report["loud_pauses"]
    first = contents(tmp_path)
    again = align(raw_path, tmp_path, "--jobs", "1")
    assert f"({len(REAL)} kept from before, {len(report['retried'])} slowed down)" in again.stdout
    assert contents(tmp_path) == first
    differences = []
    for name in REAL:
        speaker = corpus[name].speaker
        ours, theirs = (
            spoken_intervals(folder / speaker / f"{name}.TextGrid") for folder in (tmp_path / "TextGrid", published)
        )
        assert [label for _, _, label in ours] == [label for _, _, label in theirs]
        differences += [abs(a[side] - b[side]) for a, b in zip(ours, theirs, strict=True) for side in (0, 1)]
    assert np.median(differences) < 0.02
    assert np.mean(np.array(differences) <= 0.05) > 0.9


def spoken_intervals(path: Path) -> list[tuple[float, float, str]]:
    tier = textgrid.openTextgrid(str(path), includeEmptyIntervals=False).getTier("phones")
    return [(entry.start, entry.end, entry.label) for entry in tier.entries if entry.label not in ("", "sil", "sp")]
