"""Much work at once: memory and open files stay flat, nothing temporary is left, one bad line
among many fails alone."""

import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from preprocessor.facts import Facts
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, command, with_overrides
from tests.small_corpus import write_manifest, write_raw
from tests.speaking import FLAGS, write_model

WORDS = ("K IH1 D Z", "AA1 R", "T AO1 K IH0 NG", "B AY1", "DH AH0", "D AO1 R")


class Watched:
    """Runs a command and looks, `times` a second, at its memory and open files and those of its children."""

    def __init__(self, line, timeout, times=5.0):
        self.samples: list[tuple[float, float, int]] = []  # seconds, MB, files
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
            family = [pid, *_children(pid)]
            sizes, files = zip(*map(_usage, family), strict=True)
            if sizes[0]:
                self.samples.append((time.monotonic() - self.began, sum(sizes), max(files)))

    def flat(self, warm=0.4):
        """(peak MB, MB gained from the median of the first third to that of the last after `warm` of the time, most
        files open then, files gained)."""
        end = self.samples[-1][0]
        late = np.array([sample for sample in self.samples if sample[0] > warm * end])
        third = max(1, len(late) // 3)
        gained = np.median(late[-third:], axis=0) - np.median(late[:third], axis=0)
        peak = max(sample[1] for sample in self.samples)
        print(f"\n{len(self.samples)} samples in {end:.0f} s: peak {peak:.0f} MB, {gained[1]:+.1f} MB from first to "
              f"last third, {gained[2]:+.0f} of {late[:, 2].max():.0f} files")  # fmt: skip
        return peak, gained[1], late[:, 2].max(), gained[2]


def _children(pid):
    try:
        return [
            int(each)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for each in (task / "children").read_text().split()
        ]
    except OSError:
        return []


def _usage(pid):
    """Proportional set size in MB, open files; 0 for a process that has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        return (int(found[1]) / 1024 if found else 0.0), len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0.0, 0


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
    assert max(sample[2] for sample in run.samples) < 60


@pytest.mark.slow
def test_two_thousand_lines(tmp_path):
    run = speak_many(tmp_path, 2000, 1234, 900)
    _, gained, files, more = run.flat()
    assert gained < 25 and files < 60 and more <= 2


def repeat(raw, grids, times, only=None):
    """Add each recording, its text and alignment `times` - 1 times under new names, as files of their own."""
    for folder in sorted(path for path in raw.iterdir() if path.is_dir()):
        names = sorted(path.stem for path in folder.glob("*.wav"))[:only]
        facts = {}
        for name in names:
            emotion, intensity, statement, _, speaker = name.split("-")
            facts[name] = Facts(intensity, statement, "female")
            for take in range(2, times + 1):
                copy = f"{emotion}-{intensity}-{statement}-{take:02d}-{speaker}"
                facts[copy] = Facts(intensity, statement, "female")
                for place, suffix in ((folder, "wav"), (folder, "lab"), (grids / folder.name, "TextGrid")):
                    shutil.copyfile(place / f"{name}.{suffix}", place / f"{copy}.{suffix}")
        write_manifest(folder, facts)


def preprocess_many(tmp_path, timeout, jobs=1):
    output = tmp_path / "features"
    settings = [f"preprocess.path.raw_path={tmp_path / 'raw'}", f"preprocess.path.preprocessed_path={output}"]
    flags = ["--dataset", "Sample", "--textgrids", tmp_path / "grids", "--jobs", jobs]
    run = Watched(command("preprocess.py", *flags, *with_overrides(settings)), timeout)
    assert run.code == 0, run.err[-2000:]
    assert [path for path in output.rglob("*") if ".tmp" in path.name] == []
    return run, output


def test_many_recordings(tmp_path):
    write_raw(tmp_path / "raw", tmp_path / "grids")
    repeat(tmp_path / "raw", tmp_path / "grids", 8)
    run, output = preprocess_many(tmp_path, 120)
    assert len(list((output / "mel").iterdir())) == 96
    assert max(sample[2] for sample in run.samples) < 60


@pytest.mark.slow
def test_eight_times_a_real_corpus(tmp_path):
    """Four speakers of raw_data/RAVDESS eight times: 1,900 recordings; twice as many need no more memory."""
    source, grids = ROOT / "raw_data" / "RAVDESS", ROOT / "preprocessed_data" / "RAVDESS" / "TextGrid"
    if not (source.is_dir() and grids.is_dir()):
        pytest.skip("no prepared and aligned recordings of RAVDESS in raw_data and preprocessed_data")
    for speaker in sorted(path.name for path in source.iterdir() if path.is_dir())[:4]:
        for kind, folder in (("raw", source), ("grids", grids)):
            shutil.copytree(folder / speaker, tmp_path / kind / speaker)
    for path in (tmp_path / "raw").glob("*/*.wav"):  # those without an alignment are none of this test's business
        if not (tmp_path / "grids" / path.parent.name / f"{path.stem}.TextGrid").exists():
            path.unlink()
            path.with_suffix(".lab").unlink()
    repeat(tmp_path / "raw", tmp_path / "grids", 8)
    run, output = preprocess_many(tmp_path, 500)
    assert len(list((output / "mel").iterdir())) == len(list((tmp_path / "raw").glob("*/*.wav")))
    _, gained, files, more = run.flat()
    assert gained < 25 and files < 60 and more <= 2
