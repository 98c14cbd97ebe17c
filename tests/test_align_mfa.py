"""align.py --aligner mfa: with a command that takes MFA's arguments, and with MFA itself where it is installed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid

from preprocessor.align_tasks import SpokenWord, Task
from preprocessor.facts import MANIFEST
from preprocessor.mfa_aligner import _spellings
from preprocessor.mfa_command import INSTALL
from tests.aligning import DOGS, KIDS, align, command, contents, one_line_error, spoken, textgrids, without, write_raw
from tests.paths import ROOT
from tests.sample import sample_corpus, utterances_of, write_raw_data
from text.g2p import EnglishG2P
from text.words import phones_of

TEXTS = {
    "Actor_01/angry-01-Actor_01": KIDS,
    "Actor_01/angry-02-Actor_01": DOGS,
    "Actor_02/sad-01-Actor_02": KIDS,
    "Actor_02/sad-02-Actor_02": "She read it yesterday and I will read it, in 2 weeks' time.",  # R IY1 D or R EH1 D
}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_raw(tmp_path / "raw", TEXTS)
    return tmp_path / "raw"


class Mfa:
    """Runs align.py --aligner mfa with the stand-in on the PATH; `behaviour` as tests/stand_in_mfa.py has it."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.record = folder / "bin", folder / "record"
        self.bin.mkdir()
        script = f"#!{sys.executable}\n" + (ROOT / "tests" / "stand_in_mfa.py").read_text()
        (self.bin / "mfa").write_text(script)
        (self.bin / "mfa").chmod(0o755)

    def environment(self, **behaviour: object) -> dict[str, str]:
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "STAND_IN": json.dumps({"record": str(self.record)} | behaviour)}

    def __call__(
        self, raw_path: Path, output: Path, *more: object, **behaviour: object
    ) -> subprocess.CompletedProcess[str]:
        return align(raw_path, output, "--aligner", "mfa", "--jobs", "1", *more, **self.environment(**behaviour))

    def calls(self) -> list[dict]:
        return [json.loads(line) for line in self.record.read_text().splitlines()] if self.record.exists() else []


@pytest.fixture
def mfa(tmp_path: Path) -> Mfa:
    return Mfa(tmp_path)


def left_behind(output: Path) -> list[str]:
    return sorted(path.name for path in output.iterdir() if path.name.startswith("."))


def test_training_and_synthesis_get_the_same_phones(raw, mfa, tmp_path):
    result = mfa(raw, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "aligned 4 of 4" in result.stdout and "mfa: INFO     Done! 4 files" in result.stdout
    g2p = EnglishG2P()
    for label, text in TEXTS.items():
        path = tmp_path / "out" / "TextGrid" / f"{label}.TextGrid"
        words = g2p(text)
        assert spoken(path) == [phone for phone in phones_of(words) if phone != "sp"]
        assert spoken(path, "words") == [word.text.lower() for word in words if word.source != "pause"]
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
        for name in ("words", "phones"):  # as every other TextGrid of ours: without gaps, to the recording's end
            entries = grid.getTier(name).entries
            assert entries[0].start == 0.0 and entries[-1].end == soundfile.info(raw / f"{label}.wav").duration
            assert all(before.end == after.start for before, after in pairwise(entries))
        labels = [entry.label for entry in grid.getTier("phones").entries]
        assert labels[0] == labels[-1] == "sil" and labels.count("sp") == 1 and "" not in labels
    report = json.loads((tmp_path / "out" / "align.json").read_text())
    assert report["aligned"] == 4 and not report["failed"] and not report["misfits"]
    assert report["other_pronunciations"] == 0 and not report["retried"]
    (call,) = mfa.calls()
    assert all(linked for _, linked in call["labs"].values())
    read = {word: phones for word, phones in call["dictionary"] if word.startswith("read")}
    assert sorted(read.values()) == [["R", "EH1", "D"], ["R", "IY1", "D"]]
    assert left_behind(tmp_path / "out") == []


@given(st.lists(st.tuples(st.sampled_from(["read", "reads", "re-ad", "你", "好", "", "readqa"]), st.integers(0, 40))))
def test_every_spelling_has_one_pronunciation(words):
    spoken_words = tuple(SpokenWord(text, (f"P{phone}",)) for text, phone in words)
    task = Task("A", "a", Path(), Path(), "", "en", spoken_words, None, False)
    spellings = _spellings([task])
    assert set(spellings) == set(spoken_words)
    assert len({(spelling, word.phones) for word, spelling in spellings.items()}) == len(set(spellings.values()))
    assert all(spelling.isascii() and spelling.isalpha() and len(spelling) < 12 for spelling in spellings.values())


def test_a_second_run_keeps_what_is_there_and_does_not_call_mfa(raw, mfa, tmp_path):
    mfa(raw, tmp_path / "out", skip=["sad-01-Actor_02"])
    first = contents(tmp_path / "out")
    assert "TextGrid/Actor_02/sad-01-Actor_02.TextGrid" not in first
    result = mfa(raw, tmp_path / "out")
    assert "(3 kept from before" in result.stdout
    assert list(mfa.calls()[1]["labs"]) == ["Actor_02/sad-01-Actor_02"]
    assert "--single_speaker" not in mfa.calls()[1]["argv"]  # with one job it would only lose speaker adaptation
    complete = contents(tmp_path / "out")
    assert all(complete[name] == content for name, content in first.items() if name.startswith("TextGrid"))
    assert "(4 kept from before" in mfa(raw, tmp_path / "out").stdout
    assert contents(tmp_path / "out") == complete and len(mfa.calls()) == 2


def test_one_speaker_is_split_by_utterance(tmp_path, mfa):
    write_raw(tmp_path / "raw", {f"LJ/none-{number}": KIDS for number in range(3)})
    assert mfa(tmp_path / "raw", tmp_path / "out", "--jobs", "2").returncode == 0
    (call,) = mfa.calls()
    assert "--single_speaker" in call["argv"] and call["argv"][call["argv"].index("-j") + 1] == "2"


def test_a_dictionary_of_mfas_own(raw, mfa, tmp_path):
    result = mfa(raw, tmp_path / "out", "--mfa_dictionary", "english_us_arpa")
    assert result.returncode == 0, result.stderr
    assert spoken(tmp_path / "out" / "TextGrid/Actor_01/angry-02-Actor_01.TextGrid")[:5] == [
        "D",
        "AO1",
        "G",
        "Z",
        "ER0",
    ]
    report = json.loads((tmp_path / "out" / "align.json").read_text())
    assert report["other_pronunciations"] == 3
    assert "no pronunciation of 'she'" in report["failed"]["Actor_02/sad-02-Actor_02"]
    assert "3 have other phones for their words than synthesis uses" in result.stdout


def test_a_model_without_stress_gets_it_back(raw, mfa, tmp_path):
    model, dictionary = tmp_path / "bare.zip", tmp_path / "bare.dict"
    model.write_text("AA AO AY IH AH K D Z R T NG B DH G S")
    dictionary.write_text(
        "kids K IH D Z\nare AA R\ntalking T AO K IH NG\nby B AY\nthe DH AH\ndoor D AO R\ndogs D AA G Z\n"
        "sitting S IH T IH NG\n"
    )
    result = mfa(raw, tmp_path / "out", "--mfa_acoustic_model", model, "--mfa_dictionary", dictionary)
    assert result.returncode == 0, result.stderr
    path = tmp_path / "out" / "TextGrid/Actor_01/angry-02-Actor_01.TextGrid"
    assert spoken(path) == phones_of(EnglishG2P()(DOGS))
    assert json.loads((tmp_path / "out" / "align.json").read_text())["other_pronunciations"] == 0
    # the dictionary that is written otherwise has stress, which this model does not know
    error = one_line_error(mfa(raw, tmp_path / "other", "--mfa_acoustic_model", model))
    assert "do not have acoustic models: AA1, AH0" in error


def test_recordings_that_mfa_fails_on_are_listed_with_its_reason(raw, mfa, tmp_path):
    names = ["angry-01-Actor_01", "angry-02-Actor_01", "sad-01-Actor_02"]
    write_raw(raw, {"Actor_01/silent": KIDS, "Actor_01/broken": KIDS, "Actor_01/wordless": "…"})
    (raw / "Actor_01" / "silent.wav").write_bytes((raw / "Actor_01" / "silent.wav").read_bytes()[:44] + bytes(20000))
    (raw / "Actor_01" / "broken.wav").write_bytes(b"not audio")
    result = mfa(
        raw,
        tmp_path / "out",
        skip=names[:2],
        spoil=names[2:],
        errors=f"Error was encountered in exporting output/Actor_01/{names[1]}.TextGrid: beam",
    )
    assert result.returncode == 0, result.stderr
    failed = json.loads((tmp_path / "out" / "align.json").read_text())["failed"]
    assert "found no alignment" in failed[f"Actor_01/{names[0]}"]
    assert failed[f"Actor_01/{names[1]}"].endswith(f"exporting output/Actor_01/{names[1]}.TextGrid: beam")
    assert "not a usable TextGrid" in failed[f"Actor_02/{names[2]}"]
    assert str(tmp_path) not in failed[f"Actor_01/{names[1]}"]
    assert "is silent" in failed["Actor_01/silent"] and "not readable as audio" in failed["Actor_01/broken"]
    assert "Actor_01/wordless" in failed and len(failed) == 6
    assert list(textgrids(tmp_path / "out")) == ["TextGrid/Actor_02/sad-02-Actor_02.TextGrid"]
    assert len(mfa.calls()[0]["labs"]) == 4  # what is no use never went there


def test_without_mfa_there_is_the_command_that_installs_it(raw, tmp_path):
    path = without(os.environ["PATH"], "mfa")
    error = one_line_error(align(raw, tmp_path / "out", "--aligner", "mfa", PATH=path))
    assert INSTALL in error and "conda" in error
    assert not (tmp_path / "out" / "align.json").exists()


def test_mfas_failure_is_told_and_nothing_is_lost(raw, mfa, tmp_path):
    assert mfa(raw, tmp_path / "out").returncode == 0
    before = contents(tmp_path / "out")
    said = [f"line {number}" for number in range(20)] + [
        " 40%|####  | 4/10",
        "\x1b[31m╭─ Error ─╮\x1b[0m",
        "│ no such thing │",
    ]
    error = one_line_error(mfa(raw, tmp_path / "out", "--force", say=said, exit=3))
    assert "exit code 3" in error and "line 19 / Error / no such thing" in error and "line 5" not in error
    assert "mfa model download acoustic english_us_arpa" in error
    after = contents(tmp_path / "out")
    assert "line 5" in after.pop("mfa.log").decode()
    assert after == before and left_behind(tmp_path / "out") == []
    error = one_line_error(mfa(raw, tmp_path / "out", "--force", "--mfa_acoustic_model", "klingon"))
    assert "Could not find a model named 'klingon'" in error
    assert mfa(raw, tmp_path / "out", "--force", skip=["sad-01-Actor_02"]).returncode == 0
    assert set(before) - set(contents(tmp_path / "out")) == {"TextGrid/Actor_02/sad-01-Actor_02.TextGrid"}


def alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")
def test_ctrl_c_ends_mfa_and_removes_its_folders(raw, mfa, tmp_path):
    pids = tmp_path / "pids"
    process = start(raw, tmp_path / "out", mfa.environment(sleep=60, pids=str(pids)))
    running = wait_for(pids, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert not any(alive(pid) for pid in running)
    assert left_behind(tmp_path / "out") == [] and textgrids(tmp_path / "out") == {}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")
def test_what_a_killed_run_leaves_is_removed_by_the_next(raw, mfa, tmp_path):
    pids = tmp_path / "pids"
    process = start(raw, tmp_path / "out", mfa.environment(sleep=60, pids=str(pids)))
    running = wait_for(pids, process)
    process.kill()
    process.wait()
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    assert len(left_behind(tmp_path / "out")) == 1
    assert mfa(raw, tmp_path / "out").returncode == 0
    mfa(raw, tmp_path / "unbroken")
    assert contents(tmp_path / "out") == contents(tmp_path / "unbroken")


def start(raw_path: Path, output: Path, environment: dict[str, str]) -> subprocess.Popen:
    arguments = command(raw_path, output, "--aligner", "mfa", "--jobs", "1")
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL
    )


def wait_for(pids: Path, process: subprocess.Popen) -> list[int]:
    deadline = time.monotonic() + 30
    while not (pids.exists() and pids.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return [int(pid) for pid in pids.read_text().split()]


def test_every_language_has_its_own_model(raw, mfa, tmp_path):
    write_raw(raw, {"Hua/happy-01": "你好"})
    manifest = {"files": {"happy-01": {"facts": {"language": "zh"}}}}
    (raw / "Hua" / MANIFEST).write_text(json.dumps(manifest))
    assert mfa(raw, tmp_path / "out").returncode == 0
    failed = json.loads((tmp_path / "out" / "align.json").read_text())["failed"]
    assert list(failed) == ["Hua/happy-01"] and "--mfa_language" in failed["Hua/happy-01"]
    assert "--mfa_acoustic_model" in one_line_error(mfa(raw, tmp_path / "out", "--mfa_language", "zh"))
    model = tmp_path / "zh.zip"
    model.write_text("n i2 i3 h ao3")
    result = mfa(raw, tmp_path / "out", "--mfa_language", "zh", "--mfa_acoustic_model", model)
    assert result.returncode == 0, result.stderr
    assert "aligned 5 of 5 (4 kept" in result.stdout
    path = tmp_path / "out" / "TextGrid" / "Hua" / "happy-01.TextGrid"
    assert spoken(path) == ["n", "i2", "h", "ao3"] and spoken(path, "words") == ["你好"]


def test_flags_of_another_aligner_are_refused(raw, tmp_path):
    for flag, aligner in (
        ("--mfa_dictionary", "none"),
        ("--mfa_acoustic_model", "pocketsphinx"),
        ("--textgrids", "mfa"),
    ):
        error = one_line_error(align(raw, tmp_path / "out", "--aligner", aligner, flag, "x"))
        assert flag in error
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mfa") is None, reason="Montreal Forced Aligner is not installed")
def test_the_real_mfa_agrees_with_where_speech_was_put(tmp_path):
    corpus = utterances_of(sample_corpus())
    some = [utterance for utterance in corpus.values() if utterance.speaker in ("Actor_01", "Actor_02")][:8]
    write_raw_data(some, tmp_path / "raw")
    result = align(tmp_path / "raw", tmp_path / "out", "--aligner", "mfa")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "out" / "align.json").read_text())
    assert report["aligned"] >= 7 and report["other_pronunciations"] == 0 and not report["misfits"]
    assert report["median_start_error_ms"] < 100 and report["median_end_error_ms"] < 100
