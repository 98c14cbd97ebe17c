"""All the real recordings: how many align, how well, how fast, and whether twice the same. Minutes."""

import json
import os
import resource
import time
from pathlib import Path

import numpy as np
import pytest

from preprocessor.alignment import SILENCES, read_intervals
from tests.aligning import align, textgrids
from tests.paths import real_data
from tests.sample import run_script

QUIET = 0.5  # load average up to which the comparison of one and two processes means anything


def spoken(path: Path) -> list[tuple[float, float, str]]:
    return [interval for interval in read_intervals(path) if interval[2] not in SILENCES]


@pytest.mark.slow
@pytest.mark.data
def test_all_real_recordings(tmp_path, capsys):
    raw, published = tmp_path / "raw", real_data("TextGrid")
    settings = (f"preprocess.path.raw_path={raw}", f"preprocess.path.corpus_path={real_data('RAVDESS')}")
    result = run_script("prepare_align.py", "--dataset", "RAVDESS", "--set", settings[0], "--set", settings[1])
    assert result.returncode == 0, result.stderr
    quiet = os.getloadavg()[0] < QUIET

    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    result = align(raw, tmp_path / "one", "--jobs", "1", OMP_NUM_THREADS="1")
    one = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr
    began = time.monotonic()
    assert align(raw, tmp_path / "two", "--jobs", "2", OMP_NUM_THREADS="1").returncode == 0
    two = time.monotonic() - began
    assert textgrids(tmp_path / "one") == textgrids(tmp_path / "two")

    report = json.loads((tmp_path / "one" / "align.json").read_text())
    differences = []
    for path in sorted((tmp_path / "one" / "TextGrid").glob("*/*.TextGrid")):
        ours, theirs = spoken(path), spoken(published / path.parent.name / path.name)
        assert [label for *_, label in ours] == [label for *_, label in theirs]
        differences += [abs(a[side] - b[side]) for a, b in zip(ours, theirs, strict=True) for side in (0, 1)]
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    with capsys.disabled():
        print(
            f"\n{report['aligned']} of {report['recordings']} aligned, {len(report['retried'])} slowed; "
            f"{report['recordings'] / seconds:.1f} files per CPU second; --jobs 2 is {one / two:.2f} times as fast "
            f"({'quiet' if quiet else 'busy'} machine); boundaries differ by {1000 * np.median(differences):.1f} ms "
            f"(median), {100 * np.mean(np.array(differences) <= 0.05):.1f} % by at most 50 ms"
        )
    assert report["aligned"] >= 0.995 * report["recordings"] and report["recordings"] >= 1320
    assert np.median(differences) < 0.02
    assert report["recordings"] / seconds >= 8
    if quiet and (os.cpu_count() or 1) >= 2:
        assert one / two >= 1.7
