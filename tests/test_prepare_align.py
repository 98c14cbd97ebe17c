"""prepare_align.py: recordings -> wavs and texts, in whole or not at all."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors import safe_open
from safetensors.numpy import load_file

import audio
import prepare_align
from errors import UserError
from preprocessor.corpora.ravdess import Ravdess
from preprocessor.prepare import MANIFEST
from tests.paths import ROOT, golden, real_data
from tests.processes import processes_with, wait_for
from tests.small_corpus import noise, tree, write_ravdess

FIRST = "Actor_01/03-01-03-01-01-01-01.wav"  # of write_ravdess


def arguments(corpus, raw, *flags):
    return [
        "--dataset", "RAVDESS", "--corpus_path", str(corpus), "--set", f"preprocess.path.raw_path={raw}",
        "--jobs", "1", *flags,
    ]  # fmt: skip


def prepare(tmp_path, *flags):
    prepare_align.main(arguments(tmp_path / "corpus", tmp_path / "raw", *flags))
    return tmp_path / "raw"


def process(corpus, raw, *flags):
    command = [sys.executable, str(ROOT / "prepare_align.py"), *arguments(corpus, raw, *flags)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def read(path):
    return soundfile.read(path, dtype="int16")[0].astype(np.int32)


def changed(raw, earlier):
    return {str(path.relative_to(raw)) for path in raw.rglob("*.wav") if path.stat().st_mtime_ns != earlier.get(path)}


def times(raw):
    return {path: path.stat().st_mtime_ns for path in raw.rglob("*.wav")}


def test_golden_prepare_align(tmp_path, parity):
    """Equal to the original's int16, but that a peak of +1.0 saturates instead of wrapping round to -32768."""
    path = golden("prepare_align.safetensors")
    arrays = load_file(path)
    with safe_open(path, "np") as file:
        files = {case: Path(value["file"]) for case, value in json.loads(file.metadata()["files"]).items()}
    at_48_khz = {case: name for case, name in files.items() if int(name.parent.name[-2:]) <= 12}
    assert at_48_khz  # the recordings at hand of later actors are kept at 24 kHz
    for case, name in at_48_khz.items():
        source = real_data(f"RAVDESS/{name.with_suffix('.flac')}")
        (tmp_path / "corpus" / name.parent).mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / name.parent / source.name).symlink_to(source)
        utterance = Ravdess().scan(tmp_path / "corpus").utterances[-1]
        raw = prepare(tmp_path, "--set", "preprocess.preprocessing.audio.normalization=utterance_peak")
        ours = read(raw / utterance.speaker / f"{utterance.name}.wav")
        expected = arrays[f"{case}/int16_at_22050"].astype(np.int32)
        differs = np.flatnonzero(ours != expected)
        assert len(differs) == arrays[f"{case}/n_wrapped"].item()
        assert (expected[differs] == -32768).all() and (ours[differs] == 32767).all()
        kept = np.setdiff1d(np.arange(len(ours)), np.flatnonzero(expected == -32768))
        parity("prepare_align", "int16, wrapped peaks aside", float(np.abs(ours - expected)[kept].max()))


def test_every_recording_gets_a_wav_and_its_text(tmp_path):
    paths = write_ravdess(tmp_path / "corpus")
    raw = prepare(tmp_path)
    wavs = sorted(raw.glob("*/*.wav"))
    assert len(wavs) == len(paths) and all(wav.with_suffix(".lab").is_file() for wav in wavs)
    info = soundfile.info(raw / "Actor_01/happy-normal-01-01-Actor_01.wav")
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (22050, 1, "PCM_16", 11025)
    assert (raw / "Actor_01/happy-normal-02-01-Actor_01.lab").read_text() == "Dogs are sitting by the door"


def test_a_speaker_has_one_factor_that_keeps_loudness_differences(tmp_path):
    write_ravdess(tmp_path / "corpus", rate=22050)  # not resampled, so that peaks are known
    raw = prepare(tmp_path)
    for speaker in ("Actor_01", "Actor_02"):
        happy, angry = (
            np.abs(read(raw / speaker / f"{e}-normal-01-01-{speaker}.wav")).max() for e in ("happy", "angry")
        )
        assert angry in (32767, 32768) and happy == pytest.approx(angry / 2, rel=2e-3)
    prepare(tmp_path, "--set", "preprocess.preprocessing.audio.normalization=utterance_peak")
    assert all(np.abs(read(path)).max() >= 32767 for path in raw.glob("*/*.wav"))


def test_stereo_and_flac_and_capital_suffixes(tmp_path):
    folder = tmp_path / "corpus/Actor_03"
    folder.mkdir(parents=True)
    left, right = noise(0.2, 0.5, 1, 48000), noise(0.2, 0.5, 2, 48000)
    soundfile.write(folder / "03-01-04-01-01-01-03.FLAC", np.stack([left, right], axis=1), 48000, format="FLAC")
    soundfile.write(folder / "03-01-05-01-01-01-03.WAV", (left + right) / 2, 48000, format="WAV")
    raw = prepare(tmp_path, "--set", "preprocess.preprocessing.audio.normalization=utterance_peak")
    stereo, mono = (read(raw / f"Actor_03/{emotion}-normal-01-01-Actor_03.wav") for emotion in ("sad", "angry"))
    assert np.abs(stereo - mono).max() <= 8  # both were rounded to 16 bits at half scale, before and after averaging


def test_number_of_processes_does_not_matter(tmp_path):
    write_ravdess(tmp_path / "corpus", actors=(1, 2, 3))
    one = prepare(tmp_path)
    result = process(tmp_path / "corpus", tmp_path / "two", "--jobs", "2")
    assert result.returncode == 0, result.stderr
    assert tree(one) == tree(tmp_path / "two")


def test_speakers_too_long_for_memory_come_out_the_same(tmp_path, monkeypatch):
    write_ravdess(tmp_path / "corpus")
    expected = tree(prepare(tmp_path))
    monkeypatch.setattr("preprocessor.prepare.KEPT_SAMPLES", 15000)  # one recording of four
    assert tree(prepare(tmp_path, "--force")) == expected


def test_a_speaker_with_many_recordings_is_shared_out_and_comes_out_the_same(tmp_path, monkeypatch, capsys):
    paths = write_ravdess(tmp_path / "corpus", actors=(1, 2), emotions=range(1, 7))
    write_ravdess(tmp_path / "corpus", actors=(3,))
    expected = tree(prepare(tmp_path))
    monkeypatch.setattr("preprocessor.prepare_corpus.MANY", 4)
    monkeypatch.setattr("preprocessor.prepare_corpus.PART", 5)
    capsys.readouterr()
    prepare(tmp_path, "--force", "--jobs", "2")
    assert tree(tmp_path / "raw") == expected and "0 written, 28 kept" in capsys.readouterr().out
    spoil(paths[7], "nan")
    with pytest.raises(UserError, match="NaN"):
        prepare(tmp_path, "--jobs", "2")
    assert tree(tmp_path / "raw") == expected
    prepare(tmp_path, "--jobs", "2", "--skip_bad")
    shared = tree(tmp_path / "raw")
    prepare(tmp_path, "--skip_bad", "--force")
    assert tree(tmp_path / "raw") == shared != expected


def test_finished_files_are_kept_and_missing_ones_made(tmp_path, capsys):
    write_ravdess(tmp_path / "corpus")
    raw = prepare(tmp_path)
    before, content = times(raw), tree(raw)
    assert "8 written, 0 kept" in capsys.readouterr().out
    prepare(tmp_path)
    assert not changed(raw, before) and "0 written, 8 kept" in capsys.readouterr().out
    (raw / "Actor_01/angry-normal-01-01-Actor_01.wav").unlink()
    (raw / "Actor_02/angry-normal-01-01-Actor_02.wav").write_bytes(b"half")
    prepare(tmp_path)
    assert changed(raw, before) == {f"Actor_0{n}/angry-normal-01-01-Actor_0{n}.wav" for n in (1, 2)}
    assert tree(raw) == content and "2 written, 6 kept" in capsys.readouterr().out
    (raw / "Actor_01" / MANIFEST).unlink()  # as after a kill: computed again, equal files left alone
    before = times(raw)
    prepare(tmp_path)
    assert not changed(raw, before) and tree(raw) == content


def test_other_settings_and_changed_recordings_are_noticed(tmp_path):
    write_ravdess(tmp_path / "corpus")
    raw = prepare(tmp_path)
    first = tree(raw)
    prepare(tmp_path, "--set", "preprocess.preprocessing.audio.sampling_rate=16000")
    assert all(soundfile.info(path).samplerate == 16000 for path in raw.glob("*/*.wav"))
    prepare(tmp_path)
    assert tree(raw) == first
    soundfile.write(tmp_path / "corpus" / FIRST, noise(0.3, 0.9, 77, 48000), 48000)  # louder than all the others
    before = times(raw)
    prepare(tmp_path)
    assert changed(raw, before) == {str(path.relative_to(raw)) for path in (raw / "Actor_01").glob("*.wav")}


def test_a_run_broken_off_under_other_settings_leaves_no_mixture(tmp_path, monkeypatch):
    write_ravdess(tmp_path / "corpus", actors=(1,))
    expected = tree(prepare(tmp_path))
    written = []

    def save_two(path, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        audio.save(path, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("preprocessor.prepare.save", save_two)
        prepare(tmp_path, "--set", "preprocess.preprocessing.audio.normalization=utterance_peak")
    assert tree(tmp_path / "raw") != expected
    assert tree(prepare(tmp_path)) == expected


def test_files_of_removed_recordings_go(tmp_path):
    write_ravdess(tmp_path / "corpus")
    raw = prepare(tmp_path)
    (tmp_path / "corpus" / FIRST).unlink()
    prepare(tmp_path)
    assert not list(raw.glob("Actor_01/happy-normal-01-*")) and len(list(raw.glob("*/*.wav"))) == 7


def test_emotions_bear_the_names_that_the_dataset_gives_them(tmp_path):
    write_ravdess(tmp_path / "corpus", actors=(1,))
    raw = prepare(tmp_path)
    renamed = ("--set", "preprocess.emotion_map={happy: joyful, angry: none, of another corpus: sad}")
    prepare(tmp_path, *renamed)
    emotions = ("joyful", "none")
    expected = {f"{emotion}-normal-{number}-01-Actor_01" for emotion in emotions for number in ("01", "02")}
    assert {path.stem for path in raw.glob("*/*.wav")} == {path.stem for path in raw.glob("*/*.lab")} == expected
    before = times(raw)
    prepare(tmp_path, *renamed)
    assert not changed(raw, before)


BAD = {
    "not audio": (b"no audio at all" * 40, "not readable as audio"),
    "zero length": (np.zeros(0), "zero length"),
    "silent": (np.zeros(9000), "silent"),
    "nan": (np.full(9000, np.nan), "NaN"),
    "no bytes": (b"", "0 bytes"),
}


def spoil(path: Path, case: str) -> None:
    content = BAD[case][0]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        soundfile.write(path, content, 48000, subtype="FLOAT")


@pytest.mark.parametrize("case", BAD)
def test_unusable_recordings_stop_their_speaker(tmp_path, case):
    write_ravdess(tmp_path / "corpus")
    spoil(tmp_path / "corpus" / FIRST, case)
    with pytest.raises(UserError, match=rf"unusable recording: .*{Path(FIRST).name}.*{BAD[case][1]}.*--skip_bad"):
        prepare(tmp_path)
    assert not (tmp_path / "raw/Actor_01").exists()
    assert len(list((tmp_path / "raw/Actor_02").glob("*.wav"))) == 4


def test_unusable_recordings_can_be_left_out(tmp_path, capsys):
    paths = write_ravdess(tmp_path / "corpus")
    spoil(paths[0], "nan")
    spoil(paths[5], "not audio")
    with pytest.raises(UserError, match="so are 1 more"):
        prepare(tmp_path)
    raw = prepare(tmp_path, "--skip_bad")
    listed = json.loads((raw / "skipped.json").read_text())
    assert [entry["speaker"] for entry in listed] == ["Actor_01", "Actor_02"] and "NaN" in listed[0]["reason"]
    assert len(list(raw.glob("*/*.wav"))) == 6 and "skipped 2 unusable" in capsys.readouterr().out
    content = tree(raw)
    prepare(tmp_path, "--skip_bad")
    assert tree(raw) == content
    with pytest.raises(UserError, match="NaN"):  # remembered, not forgotten
        prepare(tmp_path)
    soundfile.write(paths[0], noise(0.3, 0.1, 5, 48000), 48000)
    soundfile.write(paths[5], noise(0.3, 0.1, 6, 48000), 48000)
    prepare(tmp_path)
    assert len(list(raw.glob("*/*.wav"))) == 8 and json.loads((raw / "skipped.json").read_text()) == []


def test_nothing_usable_at_all(tmp_path):
    for path in write_ravdess(tmp_path / "corpus", actors=(1,), emotions=(3,)):
        spoil(path, "silent")
    with pytest.raises(UserError, match="none of the 2 recordings can be used"):
        prepare(tmp_path, "--skip_bad")


def missing(corpus):
    return corpus / "nowhere"


def empty(corpus):
    (corpus / "empty").mkdir(parents=True)
    return corpus / "empty"


def wrong_name(corpus):
    write_ravdess(corpus)
    (corpus / "Actor_01/take two.wav").write_bytes(b"")
    return corpus


def twice(corpus):
    write_ravdess(corpus)
    write_ravdess(corpus, actors=(1,), emotions=(3,), statements=(1,), suffix=".flac")
    return corpus


def broken(corpus):
    write_ravdess(corpus, actors=(1,))
    spoil(corpus / FIRST, "not audio")
    return corpus


@pytest.mark.parametrize("make", [missing, empty, wrong_name, twice, broken])
def test_bad_corpora_end_with_code_2_one_line_and_no_files(tmp_path, make):
    result = process(make(tmp_path / "corpus"), tmp_path / "raw")
    assert result.returncode == 2 and not result.stdout, result
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "raw").exists()


def test_an_unwritable_place_is_a_user_error(tmp_path):
    write_ravdess(tmp_path / "corpus", actors=(1,))
    (tmp_path / "raw").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"cannot create .*raw/Actor_01"):
        prepare(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_a_killed_run_leaves_no_half_file_and_no_process_and_is_completed_by_the_next(tmp_path):
    corpus, raw, whole = tmp_path / "corpus", tmp_path / "raw", tmp_path / "whole"
    write_ravdess(corpus, actors=range(1, 13), emotions=range(1, 9))
    marker = f"PREPARE_ALIGN_TEST_{uuid.uuid4().hex}"
    command = [sys.executable, str(ROOT / "prepare_align.py"), *arguments(corpus, raw, "--jobs", "2")]
    running = subprocess.Popen(command, cwd=ROOT, env={**os.environ, marker: "1"}, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(list(raw.glob("*/*.wav"))) >= 20)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    wait_for(lambda: not processes_with(marker))
    assert process(corpus, whole).returncode == 0
    expected = tree(whole)
    there = list(raw.glob("*/[!.]*.wav"))
    assert 20 <= len(there) < 192, "the kill came too late to prove anything"
    assert all(path.read_bytes() == expected[str(path.relative_to(raw))] for path in there)
    (raw / "Actor_01").mkdir(exist_ok=True)
    (raw / "Actor_01/.angry-normal-01-01-Actor_01.abcdefgh.tmp.wav").write_bytes(b"half")
    kept = times(raw)
    assert process(corpus, raw, "--jobs", "2").returncode == 0
    assert tree(raw) == expected
    assert not changed(raw, kept) & {str(path.relative_to(raw)) for path in there}
