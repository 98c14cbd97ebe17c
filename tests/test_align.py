"""align.py as users run it: real speech, real processes."""

import json
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from praatio import textgrid

import audio
from preprocessor.alignment import read_alignment
from preprocessor.facts import MANIFEST
from preprocessor.textgrid_writer import Interval, write_textgrid
from tests.aligning import align, command, contents, one_line_error, spoken, write_raw
from tests.paths import ROOT
from tests.sample import sample_corpus, utterances_of, write_raw_data
from text.g2p import EnglishG2P, phones_of

SOME = [f"{emotion}-normal-{statement}-01-{speaker}" for emotion, statement, speaker in (
    ("neutral", "01", "Actor_01"), ("happy", "02", "Actor_01"), ("sad", "01", "Actor_01"),
    ("angry", "01", "Actor_02"), ("fearful", "02", "Actor_02"), ("calm", "02", "Actor_02"),
    ("surprised", "01", "Actor_03"), ("disgust", "02", "Actor_03"), ("angry", "02", "Actor_03"),
    ("sad", "02", "Actor_04"), ("fearful", "01", "Actor_04"), ("neutral", "02", "Actor_04"),
)]  # fmt: skip


@pytest.fixture(scope="module")
def raw_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen generated recordings of four speakers. Tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("align") / "raw_data"
    corpus = utterances_of(sample_corpus())
    write_raw_data([corpus[name] for name in SOME], folder)
    return folder


@pytest.fixture(scope="module")
def aligned(raw_data: Path) -> Path:
    """Their TextGrids, made by one process without interruption."""
    output = raw_data.parent / "preprocessed"
    result = align(raw_data, output, "--jobs", "1")
    assert result.returncode == 0, result.stderr
    assert f"aligned {len(SOME)} of {len(SOME)}" in result.stdout
    return output


def test_textgrids_cover_the_recording_and_hold_the_phones_of_synthesis(raw_data, aligned):
    g2p = EnglishG2P()
    for path in sorted(aligned.rglob("*.TextGrid")):
        wav = raw_data / path.parent.name / f"{path.stem}.wav"
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
        assert grid.tierNames == ("words", "phones")
        duration = soundfile.info(wav).duration
        for name in grid.tierNames:
            entries = grid.getTier(name).entries
            assert entries[0].start == 0.0
            assert duration - 1e-5 < entries[-1].end <= duration
            assert all(before.end == after.start for before, after in pairwise(entries))
        phones = [entry.label for entry in grid.getTier("phones").entries]
        assert phones[0] == phones[-1] == "sil"
        assert set(phones[1:-1]).isdisjoint({"sil", ""})
        words = g2p(wav.with_suffix(".lab").read_text())
        assert [phone for phone in phones if phone not in ("sil", "sp")] == phones_of(words)
        assert [entry.label for entry in grid.getTier("words").entries if entry.label] == [
            word.text.lower() for word in words
        ]


def test_speech_lies_where_it_was_put(raw_data, aligned):
    """The sample corpus has exactly 0.4 s before and after the speech."""
    for path in sorted(aligned.rglob("*.TextGrid")):
        duration = soundfile.info(raw_data / path.parent.name / f"{path.stem}.wav").duration
        alignment = read_alignment(path, 1000, 1)
        assert alignment.start == pytest.approx(0.4, abs=0.1)
        assert alignment.end == pytest.approx(duration - 0.4, abs=0.1)


def test_the_number_of_jobs_changes_nothing(raw_data, aligned, tmp_path):
    assert align(raw_data, tmp_path, "--jobs", "2").returncode == 0
    assert contents(tmp_path) == contents(aligned)


def test_a_killed_run_goes_on_where_it_stopped(raw_data, aligned, tmp_path):
    process = subprocess.Popen([sys.executable, *command(raw_data, tmp_path, "--jobs", "2")], cwd=ROOT)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.rglob("*/*/[!.]*.TextGrid"))) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # the workers notice
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("[!.]*.TextGrid")}
    assert len(finished) < len(SOME)
    for path in finished:
        assert path.read_bytes() == (aligned / path.relative_to(tmp_path)).read_bytes()
    (tmp_path / "TextGrid" / "Actor_01" / ".angry.1234.tmp.TextGrid").write_text(
        "as a kill at the worst time leaves it"
    )
    (tmp_path / ".align.1234.tmp.json").write_text("{")
    result = align(raw_data, tmp_path)
    assert result.returncode == 0
    assert f"({len(finished)} kept from before" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert contents(tmp_path) == contents(aligned)


def test_words_that_no_dictionary_has_are_aligned_as_synthesis_speaks_them(raw_data, tmp_path):
    raw_path = tmp_path / "raw"
    names = [path.stem for path in sorted((raw_data / "Actor_01").glob("*.wav"))]
    shutil.copytree(raw_data / "Actor_01", raw_path / "Actor_01")
    texts = dict(
        zip(names, ("Kidz arr tawking bai thuh dorr", "Doggz ar sittin by the doar 🐕", "🐕 — …"), strict=True)
    )
    for name, text in texts.items():
        (raw_path / "Actor_01" / f"{name}.lab").write_text(text)
    result = align(raw_path, tmp_path / "out", "--jobs", "1")
    assert result.returncode == 0, result.stderr
    for name in names[:2]:
        assert spoken(tmp_path / "out" / "TextGrid" / "Actor_01" / f"{name}.TextGrid") == phones_of(
            word for word in EnglishG2P()(texts[name]) if word.source != "pause"
        )
    failed = json.loads((tmp_path / "out" / "align.json").read_text())["failed"]
    assert list(failed) == [f"Actor_01/{names[2]}"] and "nothing to speak" in failed[f"Actor_01/{names[2]}"]


def test_other_languages_are_listed_with_what_to_do(raw_data, aligned, tmp_path):
    raw_path = tmp_path / "raw"
    shutil.copytree(raw_data / "Actor_02", raw_path / "Actor_02")
    write_raw(raw_path, {"Hua/happy-01": "你好", "Hua/happy-02": "你好"})
    facts = {"facts": {"language": "zh"}}
    (raw_path / "Hua" / MANIFEST).write_text(json.dumps({"files": {"happy-01": facts, "happy-02": facts}}))
    done = tmp_path / "TextGrid" / "Hua" / "happy-02.TextGrid"  # by somebody else
    phones = [Interval(0.2 * n, 0.2 * n + 0.2, phone) for n, phone in enumerate(("n", "i2", "h", "ao3"), start=1)]
    write_textgrid(done, [Interval(0.2, 1.0, "你好")], phones, 2.0)
    before = done.read_bytes()
    assert align(raw_path, tmp_path, "--force", "--jobs", "1").returncode == 0
    report = json.loads((tmp_path / "align.json").read_text())
    assert list(report["failed"]) == ["Hua/happy-01"] and report["aligned"] == 4 and not report["misfits"]
    reason = report["failed"]["Hua/happy-01"]
    assert "US English" in reason and "--aligner mfa" in reason and "model.alignment=learned" in reason
    assert done.read_bytes() == before  # what pocketsphinx could not replace stays
    for path in (tmp_path / "TextGrid" / "Actor_02").iterdir():
        assert path.read_bytes() == (aligned / "TextGrid" / "Actor_02" / path.name).read_bytes()


def test_bad_recordings_are_named_and_left_out(raw_data, aligned, tmp_path):
    raw_path, output = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(raw_data, raw_path)
    wavs = sorted(raw_path.rglob("*.wav"))[:6]
    wavs[0].write_bytes(b"not audio")
    wavs[1].write_bytes(b"")
    audio.save(wavs[2], np.zeros(22050, dtype=np.float32), 22050)
    wavs[3].with_suffix(".lab").unlink()
    wavs[4].with_suffix(".lab").write_text(" \n")
    wavs[5].with_suffix(".lab").write_text("far more words than anybody could say in two seconds " * 6)
    result = align(raw_path, output)
    assert result.returncode == 0, result.stderr
    assert f"aligned {len(SOME) - 6} of {len(SOME)}" in result.stdout
    failed = json.loads((output / "align.json").read_text())["failed"]
    reasons = [failed.pop(f"{wav.parent.name}/{wav.stem}") for wav in wavs]
    assert not failed
    for reason, part in zip(
        reasons, ("not readable as audio", "empty", "silent", "no transcript", "is empty", "did not reach"), strict=True
    ):
        assert part in reason
    for wav in wavs:
        assert not (output / "TextGrid" / wav.parent.name / f"{wav.stem}.TextGrid").exists()
    good = {path.relative_to(output) for path in output.rglob("*.TextGrid")}
    assert all((output / path).read_bytes() == (aligned / path).read_bytes() for path in good)


def test_textgrids_made_elsewhere_are_kept_and_checked(raw_data, aligned, tmp_path):
    shutil.copytree(aligned / "TextGrid", tmp_path / "TextGrid")
    paths = sorted(tmp_path.rglob("*.TextGrid"))
    write_textgrid(paths[0], [Interval(0.5, 0.9, "kids")], [Interval(0.5, 0.9, "K")], 2.0)
    write_textgrid(paths[2], [Interval(9.0, 9.4, "kids")], [Interval(9.0, 9.4, "K")], 10.0)
    paths[3].write_text("not a TextGrid")
    before = [path.read_bytes() for path in paths]
    result = align(raw_data, tmp_path)
    assert result.returncode == 0
    assert [path.read_bytes() for path in paths] == before
    report = json.loads((tmp_path / "align.json").read_text())
    assert "pronunciation" in report["misfits"][f"Actor_01/{paths[0].stem}"]
    assert "ends at 9.4 s, but the recording" in report["misfits"][f"Actor_01/{paths[2].stem}"]
    assert "not a usable TextGrid" in report["failed"][f"Actor_02/{paths[3].stem}"]
    # --force replaces them; what fails then keeps no boundaries of before
    raw_path = tmp_path / "raw"
    shutil.copytree(raw_data, raw_path)
    (raw_path / "Actor_01" / f"{paths[1].stem}.wav").write_bytes(b"broken meanwhile")
    assert align(raw_path, tmp_path, "--force").returncode == 0
    assert not paths[1].exists()
    for path in (paths[0], paths[2], paths[3]):
        assert path.read_bytes() == (aligned / path.relative_to(tmp_path)).read_bytes()


def test_missing_raw_data_names_the_next_command(tmp_path):
    error = one_line_error(align(tmp_path / "nowhere", tmp_path / "out"))
    assert "python prepare_align.py --dataset Sample" in error
    assert not (tmp_path / "out").exists()


def test_nothing_aligned_is_an_error(tmp_path):
    raw_path = tmp_path / "raw"
    audio.save(raw_path / "A" / "hum.wav", 0.1 * np.sin(np.arange(8000)).astype(np.float32), 22050)
    (raw_path / "A" / "hum.lab").write_text("Kids are talking by the door")
    error = one_line_error(align(raw_path, tmp_path / "out"))
    assert "A/hum" in error
    assert json.loads((tmp_path / "out" / "align.json").read_text())["aligned"] == 0


def test_a_broken_lexicon_is_an_error(raw_data, tmp_path):
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("kids K IH1 D Z\ndogs D QQ G Z\n")
    error = one_line_error(align(raw_data, tmp_path / "out", "--set", f"preprocess.path.lexicon_path={lexicon}"))
    assert f"{lexicon}:2" in error


def test_the_users_lexicon_decides_the_phones(raw_data, tmp_path):
    raw_path, lexicon = tmp_path / "raw", tmp_path / "lexicon.txt"
    shutil.copytree(raw_data / "Actor_03", raw_path / "Actor_03")
    lexicon.write_text("DOGS D AO1 G Z\n")
    result = align(raw_path, tmp_path, "--set", f"preprocess.path.lexicon_path={lexicon}")
    assert result.returncode == 0
    path = tmp_path / "TextGrid" / "Actor_03" / "angry-normal-02-01-Actor_03.TextGrid"
    assert read_alignment(path, 22050, 256).phones[:4] == ("D", "AO1", "G", "Z")


def test_a_full_or_forbidden_disk_is_an_error(raw_data, tmp_path):
    (tmp_path / "TextGrid").write_text("in the way")
    assert str(tmp_path / "TextGrid") in one_line_error(align(raw_data, tmp_path))
