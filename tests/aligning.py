"""Running align.py on small raw_data folders."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from preprocessor.alignment import SILENCES, read_intervals
from tests.sample import run_script
from tests.small_corpus import RATE, noise

KIDS, DOGS = "Kids are talking by the door", "Dogs are sitting by the door"


def command(raw_path: Path, output: Path, *more: object) -> list[str]:
    paths = (f"preprocess.path.raw_path={raw_path}", f"preprocess.path.preprocessed_path={output}")
    return ["align.py", "--dataset", "Sample", "--set", paths[0], "--set", paths[1], *map(str, more)]


def align(raw_path: Path, output: Path, *more: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_script(*command(raw_path, output, *more), **environment)


def write_raw(raw_path: Path, texts: Mapping[str, str], seconds: float = 2.0) -> None:
    """Noise instead of speech, for aligners that do not listen: "speaker/name" -> text."""
    import audio

    for number, (label, text) in enumerate(texts.items()):
        audio.save(raw_path / f"{label}.wav", noise(seconds, 0.5, number), RATE)
        (raw_path / f"{label}.lab").write_text(text, encoding="utf-8")


def contents(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in sorted(output.rglob("*")) if path.is_file()}


def textgrids(output: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(output).items() if name.startswith("TextGrid")}


def spoken(path: Path, tier: str = "phones") -> list[str]:
    return [label for _, _, label in read_intervals(path, tier) if label not in SILENCES]


def one_line_error(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def without(path_of: str, name: str) -> str:
    """A PATH without the folders that hold an executable `name`."""
    return os.pathsep.join(part for part in path_of.split(os.pathsep) if not (Path(part) / name).exists())
