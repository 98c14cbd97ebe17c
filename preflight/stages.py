"""The corpus and what the scripts make of it: how far a dataset has come, and which command comes next.

What is missing is a problem only where the next step is: recordings are no longer needed once there are features.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from config import Config
from errors import UserError
from preflight.findings import NOTE, OK, PROBLEM, Finding
from utils.metadata import Entry, IdMaps, read_metadata

LATER = "only needed to make features anew, to evaluate and to train vocoders"


@dataclass(frozen=True)
class Stages:
    """One dataset's folders, as its configuration names them."""

    config: Config
    flags: Sequence[str]  # of the command line that chose it: --dataset NAME --set …

    @property
    def raw(self) -> Path:
        """Recordings, cut and resampled, and texts."""
        return Path(self.config.preprocess.path.raw_path)

    @property
    def features(self) -> Path:
        """Mel spectrograms, durations, lists."""
        return Path(self.config.preprocess.path.preprocessed_path)

    def next(self, script: str) -> str:
        """The command that comes next, as a remedy."""
        return f"run: {self.command(script)}"

    def command(self, script: str) -> str:
        """A script's command line for this dataset."""
        return f"python {script} {shlex.join(self.flags)}"

    @property
    def is_aligned_by_textgrids(self) -> bool:
        """Whether training needs alignments made before."""
        return self.config.model.alignment == "textgrid"

    def check(self) -> Iterator[Finding]:
        """Corpus, recordings, features."""
        has_features, has_raw = (self.features / "train.txt").is_file(), _count(self.raw, ".wav") > 0
        corpus = self._corpus(needed=not has_raw and not has_features)
        yield corpus
        yield self._recordings(has_raw, needed=not has_features and corpus.level == OK)
        yield self._features(has_features, needed=has_raw)

    def _corpus(self, needed: bool) -> Finding:
        from preprocessor.joined import find

        path = self.config.preprocess.path.corpus_path or ", ".join(self.config.preprocess.datasets)
        try:
            found = find(self.config.preprocess).utterances
        except UserError as error:
            if needed:
                return Finding(PROBLEM, "corpus", str(error))
            return Finding(NOTE, "corpus", f"{error if Path(path).exists() else f'there is no {path}'}; {LATER}")
        speakers = len({each.speaker for each in found})
        return Finding(OK, "corpus", f"{len(found):,} recordings of {speakers} speakers in {path}")

    def _recordings(self, there: bool, needed: bool) -> Finding:
        how = self.next("prepare_align.py")
        if not there:
            return Finding(PROBLEM if needed else NOTE, "raw_path", f"no recordings in {self.raw}", how)
        wavs, labs = _count(self.raw, ".wav"), _count(self.raw, ".lab")
        text = f"{wavs:,} recordings and {labs:,} texts in {self.raw}"
        return Finding(OK, "raw_path", text) if wavs == labs else Finding(PROBLEM, "raw_path", text, how)

    def _features(self, there: bool, needed: bool) -> Finding:
        if there:
            return self._lists(self.next("preprocess.py"))
        text = f"nothing to train from in {self.features}"
        return Finding(PROBLEM if needed else NOTE, "preprocessed_path", text, self._to_train())

    def _to_train(self) -> str:
        """What makes features: alignment comes first where there is none."""
        if not self.is_aligned_by_textgrids or _count(self.features / "TextGrid", ".TextGrid"):
            return self.next("preprocess.py")
        return (
            f"{self.next('align.py')}, then: {self.command('preprocess.py')}; or with --set model.alignment=learned "
            "preprocess.py alone"
        )

    def _lists(self, how: str) -> Finding:
        try:
            ids = IdMaps.load(self.features)
            parts = {name: read_metadata(self.features / f"{name}.txt") for name in ("train", "val")}
        except UserError as error:
            return Finding(PROBLEM, "preprocessed_path", str(error), how)
        missing = self._missing([entry for part in parts.values() for entry in part])
        if missing:
            first = f"{missing[0]}{f' and {len(missing) - 1:,} more' if len(missing) > 1 else ''}"
            return Finding(PROBLEM, "preprocessed_path", f"missing in {self.features}: {first}", how)
        counts = ", ".join(f"{len(part):,} in {name}.txt" for name, part in parts.items())
        text = f"{counts}, {len(ids.speakers)} speakers, {len(ids.emotions)} emotions in {self.features}"
        return Finding(OK, "preprocessed_path", text)

    def _missing(self, entries: Sequence[Entry]) -> list[str]:
        """Features that the configuration trains from and that are not there."""
        wanted = ["mel"]
        wanted += ["duration"] if self.is_aligned_by_textgrids else []
        wanted += ["pitch"] if self.config.model.prosody.layer > 0 else []
        missing = []
        for kind in wanted:
            there = set(_names(self.features / kind))
            names = (f"{entry.speaker}-{kind}-{entry.name}.npy" for entry in entries)
            missing += [f"{kind}/{name}" for name in names if name not in there]
        if self.config.preprocess.preprocessing.speaker_embedder != "none":
            there = set(_names(self.features / "spker_embed"))
            names = (f"{speaker}-spker_embed.npy" for speaker in sorted({entry.speaker for entry in entries}))
            missing += [f"spker_embed/{name}" for name in names if name not in there]
        return missing


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _count(folder: Path, suffix: str) -> int:
    """Files of that suffix in the folders of speakers."""
    return sum(name.endswith(suffix) for speaker in _names(folder) for name in _names(folder / speaker))
