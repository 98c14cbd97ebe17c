"""The generated sample corpus, made once per test run, and parts of it as raw_data."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import audio
from preprocessor.corpora.ravdess import Ravdess
from preprocessor.corpus import Utterance
from tests.paths import ROOT


@lru_cache(maxsize=1)
def sample_corpus() -> Path:
    """data/Sample as the script makes it, in a folder that goes with this process. Tests must not write there."""
    folder = Path(tempfile.mkdtemp(prefix="sample-corpus-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    result = run_script("make_sample_corpus.py", "--output", str(folder / "Sample"))
    assert result.returncode == 0, result.stderr
    return folder / "Sample"


def run_script(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of the project's scripts in a process of its own, with additions to the environment."""
    return subprocess.run(
        [sys.executable, str(ROOT / arguments[0]), *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | environment,
    )


def write_raw_data(utterances: Sequence[Utterance], raw_path: Path) -> None:
    """What prepare_align.py makes of some recordings, at their own level."""
    for utterance in utterances:
        path = raw_path / utterance.speaker / f"{utterance.name}.wav"
        audio.save(path, audio.load(utterance.audio_path, 22050), 22050)
        path.with_suffix(".lab").write_text(utterance.text)


def utterances_of(folder: Path) -> dict[str, Utterance]:
    """Recordings in RAVDESS's form by name."""
    return {utterance.name: utterance for utterance in Ravdess().scan(folder).utterances}
