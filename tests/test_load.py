"""Much work at once: memory and open files stay flat, nothing temporary is left, one bad line
among many fails alone."""

import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from preprocessor.facts import MANIFEST, read_speaker_facts
from tests.paths import real_data
from tests.processes import ENVIRONMENT, assert_ok, command, run_script, with_overrides
from tests.small_corpus import write_manifest, write_raw
from tests.speaking import FLAGS, write_model

WORDS = ("K IH1 D Z", "AA1 R", "T AO1 K IH0 NG", "B AY1", "DH AH0", "D AO1 R")
TIMES = 8  # every recording is there


class Sample(NamedTuple):
    """One look at a process and all that descend from it."""

    seconds: float  # since the start
    own: float  # MB that they wrote themselves; what several share counts once
    whole: float  # MB with their parts of mapped files, which grow when another program that shares them ends
    files: int  # open in the one that has most


class Watched:
    """Runs a command and looks at it `times` a second."""

    def __init__(self, line, timeout, times=5.0):
        self.samples: list[Sample] = []
        self.began = time.monotonic()
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(process.pid, 1 / times, done))
        watcher.start()
        try:
            self.out, self.err = process.communicate(timeout=timeout)
        finally:
            process.kill()
            done.set()
            watcher.join()
        self.code = process.returncode

    def _watch(self, pid, pause, done):
        while not done.wait(pause):
            usage = [_usage(each) for each in (pid, *_descendants(pid))]
            if usage[0][0]:
                own, whole, files = zip(*usage, strict=True)
                self.samples.append(Sample(time.monotonic() - self.began, sum(own), sum(whole), max(files)))

    def assert_flat(self, count, warm=0.4):
        """After `warm` of the time, memory grows by less than a fifth of a mel spectrogram for each of `count` items
        and files stay as many as they are. Both are medians over the last third of that time against the first."""
        end = self.samples[-1].seconds
        late = np.array([sample for sample in self.samples if sample.seconds > warm * end])
        third = len(late) // 3
        gained = Sample(*(np.median(late[-third:], axis=0) - np.median(late[:third], axis=0)))
        done = count * gained.seconds / end
        peak = Sample(*np.max(self.samples, axis=0))
        print(f"\n{count} items in {end:.0f} s: peak {peak.own:.0f} MB (with mapped files {peak.whole:.0f}); over the "
              f"last {done:.0f} of them {gained.own:+.2f} MB, {1000 * gained.own / done:+.2f} kB each; at most "
              f"{peak.files:.0f} files, {gained.files:+.0f}")  # fmt: skip
        assert gained.own < KILOBYTES / 1024 * done
        assert peak.files < 60 and gained.files <= 1


KILOBYTES = 6  # a mel spectrogram of one second has 28, its samples 88, its picture 800


def _descendants(pid):
    try:
        children = [
            int(each)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for each in (task / "children").read_text().split()
        ]
    except OSError:
        return []
    return [process for child in children for process in (child, *_descendants(child))]


def _usage(pid):
    """MB written by a process, MB with its part of mapped files, open files; 0 for one that has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        sizes = {name: int(size) / 1024 for name, size in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
        own = sum(sizes[name] for name in ("Pss_Anon", "Pss_Shmem", "SwapPss")) if sizes else 0.0
        return own, sizes.get("Pss", 0.0), len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0.0, 0.0, 0


def speak_many(tmp_path, count, bad, timeout):
    """Speak `count` lines, number `bad` of which no model can speak."""
    lines = []
    for index in range(1, count + 1):
        phones = " ".join([*WORDS[: 1 + index * 5 % 6], WORDS[index // 6 % 6]])
        speaker = "Actor_77" if index == bad else f"Actor_0{1 + index % 2}"
        lines.append(f"{('happy', 'sad', 'angry')[index % 3]}-{index}|{speaker}|{{{phones}}}|line {index}")
    source, output = tmp_path / "lines.txt", tmp_path / "out"
    source.write_text("\n".join(lines))
    model = with_overrides(write_model(tmp_path / "model"))
    flags = [*FLAGS, "--mode", "batch", "--source", source, "--output", output, *model]
    run = Watched(command("synthesize.py", *flags), timeout)
    assert run.code == 2 and "Traceback" not in run.err, run.err[-2000:]
    told = [line for line in run.err.replace("\r", "\n").splitlines() if line.startswith("error: ")]
    assert len(told) == 2, run.err[-2000:]
    assert re.search(rf"lines.txt:{bad}: \S+-{bad}: unknown speaker 'Actor_77'", told[0])
    assert f"1 of {count} lines" in told[1]
    assert {path.stem for path in output.glob("*.wav")} == {
        line.split("|")[0] for line in lines if "Actor_77" not in line
    }
    assert len(list(output.iterdir())) == 3 * (count - 1)  # nothing temporary
    return run


def test_one_bad_line_among_a_hundred(tmp_path):
    run = speak_many(tmp_path, 100, 57, 120)
    assert max(sample.files for sample in run.samples) < 60


@pytest.mark.slow
def test_two_thousand_lines(tmp_path):
    run = speak_many(tmp_path, 2000, 1234, 900)
    run.assert_flat(2000)


def repeat(raw, grids):
    """Have each recording, its text and its alignment TIMES times, under names of further takes."""
    for folder in sorted(path for path in raw.iterdir() if path.is_dir()):
        known = read_speaker_facts(folder / MANIFEST)
        facts = {}
        for name in sorted(known):
            emotion, intensity, statement, take, speaker = name.split("-")
            for number in range(TIMES):
                copy = f"{emotion}-{intensity}-{statement}-{int(take) + 2 * number:02d}-{speaker}"
                facts[copy] = known[name]
                for place, suffix in ((folder, "wav"), (folder, "lab"), (grids / folder.name, "TextGrid")):
                    if copy != name:
                        os.link(place / f"{name}.{suffix}", place / f"{copy}.{suffix}")
        write_manifest(folder, facts)


def preprocess_many(tmp_path, timeout, jobs):
    """Preprocess tmp_path / raw with RAVDESS's configuration, whose model needs pitch."""
    output = tmp_path / "features"
    settings = [
        f"preprocess.path.raw_path={tmp_path / 'raw'}",
        f"preprocess.path.preprocessed_path={output}",
        "preprocess.preprocessing.val_size=12",
    ]
    flags = ["--dataset", "RAVDESS", "--textgrids", tmp_path / "grids", "--jobs", jobs]
    run = Watched(command("preprocess.py", *flags, *with_overrides(settings)), timeout)
    assert run.code == 0, run.err[-2000:]
    assert [path for path in output.rglob("*") if ".tmp" in path.name] == []
    recordings = {path.stem for path in (tmp_path / "raw").rglob("*.wav")}
    for kind in ("mel", "pitch", "duration"):
        made = {path.stem.split(f"-{kind}-")[1] for path in (output / kind).iterdir()}
        assert made == recordings
    return run, len(recordings)


def test_many_recordings(tmp_path):
    write_raw(tmp_path / "raw", tmp_path / "grids")
    repeat(tmp_path / "raw", tmp_path / "grids")
    run, count = preprocess_many(tmp_path, 120, jobs=1)
    assert count == 12 * TIMES
    assert max(sample.files for sample in run.samples) < 60


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("speakers", "jobs"), [(4, 1), (22, 2)], ids=["some speakers", "all speakers"])
def test_many_times_a_real_corpus(tmp_path, speakers, jobs):
    """RAVDESS eight times: 1,920 recordings of four speakers, 10,560 of all."""
    corpus, grids, raw = tmp_path / "corpus", tmp_path / "grids", tmp_path / "raw"
    corpus.mkdir()
    recordings = 0
    for folder in sorted(real_data("RAVDESS").glob("Actor_*"))[:speakers]:
        (corpus / folder.name).symlink_to(folder.resolve())
        recordings += len(list(folder.glob("*.flac")))
        (grids / folder.name).mkdir(parents=True)
        for path in real_data(f"TextGrid/{folder.name}").iterdir():
            (grids / folder.name / path.name).write_bytes(path.read_bytes())
    place = with_overrides([f"preprocess.path.raw_path={raw}"])
    assert_ok(run_script("prepare_align.py", "--dataset", "RAVDESS", "--corpus_path", corpus, "--jobs", jobs, *place))
    repeat(raw, grids)
    run, count = preprocess_many(tmp_path, 2400, jobs)
    assert count == recordings * TIMES
    run.assert_flat(count)
