"""The generated corpus is RAVDESS in form, and its emotions differ in what emotions differ in."""

import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocessor.corpora.ravdess import Ravdess
from preprocessor.sample_corpus import SILENCE_SECONDS, STYLES, VOICES, items
from tests.paths import ROOT
from tests.sample import run_script, sample_corpus


@pytest.fixture(scope="module")
def corpus() -> Path:
    return sample_corpus()


def wav_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("[!.]*.wav"))}


def pitch(wav: np.ndarray, sampling_rate: int) -> float:
    """Median fundamental frequency in Hz by autocorrelation of 60 ms frames."""
    wav, rate = wav[::6], sampling_rate // 6
    size, low, high = int(0.06 * rate), rate // 450, rate // 60
    found = []
    for frame in np.lib.stride_tricks.sliding_window_view(wav, size)[:: size // 3]:
        frame = frame - frame.mean()
        if np.sqrt(np.mean(frame**2)) > 0.3 * np.sqrt(np.mean(wav**2)):
            correlation = np.correlate(frame, frame, "full")[size - 1 :] / np.sum(frame**2)
            lag = low + int(correlation[low:high].argmax())
            if correlation[lag] > 0.4:
                found.append(rate / lag)
    return float(np.median(found))


def test_it_has_ravdess_names_folders_and_format(corpus):
    scan = Ravdess().scan(corpus)
    assert len(scan.utterances) == 240 and not scan.left_out
    assert [path.name for path in sorted(corpus.iterdir()) if path.is_dir()] == [f"Actor_0{n}" for n in range(1, 5)]
    for _, group in itertools.groupby(scan.utterances, key=lambda utterance: utterance.speaker):
        recordings = list(group)
        assert len(recordings) == len({utterance.name for utterance in recordings}) == 60
        assert sum(utterance.emotion == "neutral" for utterance in recordings) == 4
    for utterance in scan.utterances:
        info = soundfile.info(utterance.audio_path)
        assert (info.samplerate, info.channels, info.subtype, info.format) == (48000, 1, "PCM_16", "WAV")
        wav, _ = soundfile.read(utterance.audio_path)
        assert 0.05 < np.abs(wav).max() < 0.9
        edge = int(SILENCE_SECONDS * 48000)
        assert np.abs(wav[: edge - 100]).max() < 0.01 and np.abs(wav[100 - edge :]).max() < 0.01


def test_emotions_differ_in_pitch_duration_and_level_for_every_speaker(corpus):
    measured: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for utterance in Ravdess().scan(corpus).utterances:
        if utterance.statement == "01":
            wav, rate = soundfile.read(utterance.audio_path)
            speech = wav[int(SILENCE_SECONDS * rate) : -int(SILENCE_SECONDS * rate)]
            level = 10 * np.log10(np.mean(speech**2))
            measured[utterance.speaker, utterance.emotion].append((pitch(speech, rate), len(speech) / rate, level))
    for actor in VOICES:
        hz, seconds, level = (
            {emotion: np.mean(measured[f"Actor_{actor}", emotion], axis=0)[index] for emotion in STYLES}
            for index in range(3)
        )
        assert 1.05 * hz["sad"] < hz["neutral"] < hz["angry"] / 1.05 < hz["angry"] < hz["surprised"] / 1.1
        assert seconds["sad"] > 1.1 * seconds["neutral"] > 1.1 * 1.1 * seconds["angry"] > 1.1 * seconds["fearful"]
        assert level["angry"] > level["happy"] + 2 > level["neutral"] + 4 > level["sad"] + 8
        points = np.array([[12 * np.log2(hz[e]), 20 * np.log2(seconds[e]), level[e]] for e in STYLES])
        distances = np.linalg.norm(points[:, None] - points[None], axis=-1) + 99 * np.eye(len(points))
        assert distances.min() > 2  # no two emotions alike
    male, female = (np.mean([measured[f"Actor_0{n}", "neutral"][0][0] for n in who]) for who in ((1, 3), (2, 4)))
    assert male < 130 < 150 < female


def test_repetitions_and_intensities_differ(corpus):
    for actor in VOICES:
        spoken = {(item.text, item.prosody, round(item.level, 3)) for item in items(actor)}
        assert len(spoken) == 60
    assert len(set(wav_files(corpus).values())) == 240


def test_a_second_run_does_nothing(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    result = run_script("make_sample_corpus.py", "--output", str(corpus))
    assert result.returncode == 0 and "nothing to do" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_a_killed_or_damaged_run_is_made_good_and_gives_the_same_bytes(corpus, tmp_path):
    output = tmp_path / "Sample"
    process = subprocess.Popen(
        [sys.executable, "make_sample_corpus.py", "--output", str(output)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while len(list(output.rglob("[!.]*.wav"))) < 5:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = wav_files(corpus)
    assert all(whole[name] == content for name, content in wav_files(output).items())
    assert not (output / "sample_corpus.json").exists()
    result = run_script("make_sample_corpus.py", "--output", str(output))
    assert result.returncode == 0, result.stderr
    assert wav_files(output) == whole


def test_a_corpus_of_another_version_is_not_taken_for_ours(corpus, tmp_path):
    from preprocessor.sample_corpus import is_complete

    folder = shutil.copytree(corpus, tmp_path / "copy")
    assert is_complete(folder)
    marker = json.loads((folder / "sample_corpus.json").read_text())
    (folder / "sample_corpus.json").write_text(json.dumps(marker | {"version": 0}))
    assert not is_complete(folder)
    shutil.copy(corpus / "sample_corpus.json", folder)
    next(folder.rglob("*.wav")).unlink()
    assert not is_complete(folder)


def test_a_missing_package_is_one_line_with_the_command(tmp_path):
    (tmp_path / "espeakng_loader.py").write_text("raise ImportError('No module named espeakng_loader')")
    result = run_script("make_sample_corpus.py", "--output", str(tmp_path / "out"), PYTHONPATH=str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "pip install espeakng-loader" in result.stderr
    assert not list(tmp_path.rglob("*.wav"))
