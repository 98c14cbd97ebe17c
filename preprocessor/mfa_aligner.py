"""Forced alignment by an installed Montreal Forced Aligner: its corpus laid out, its command run, its TextGrids taken.

What is known of its command line, the same in MFA 2.0 to 3.4 (`mfa align --help`; montreal_forced_aligner/
command_line/align.py and utils.py; https://montreal-forced-aligner.readthedocs.io, user guide, `mfa align`):

    mfa align [OPTIONS] CORPUS_DIRECTORY DICTIONARY_PATH ACOUSTIC_MODEL_PATH OUTPUT_DIRECTORY

  * the corpus is a folder per speaker with name.wav and name.lab; the output is {speaker}/{name}.TextGrid
  * dictionary (.dict, .txt: a word and its phones per line) and model (.zip) are files, or names of what
    `mfa model download dictionary|acoustic NAME` has fetched
  * an utterance that it could not align has no TextGrid; what it could not write stands in output_errors.txt
  * silences are unlabelled, a word that the dictionary lacks is one phone `spn`
  * --temporary_directory must not be where the corpus or the output lies: it compares the beginnings of their names
  * an option that it does not know becomes a positional argument, so only those of all these versions are used;
    --single_speaker (2.2 and later: work is split by utterance rather than by speaker) only for one speaker
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from errors import UserError
from preprocessor.align_corpus import load_recording, unusable
from preprocessor.align_report import examine
from preprocessor.align_tasks import AlignmentError, SpokenWord, Task
from preprocessor.mfa_command import find_mfa, reason_for, run_mfa
from preprocessor.mfa_textgrid import adopt
from preprocessor.outputs import make_folder, write_bytes
from preprocessor.parallel import ordered_map
from utils.files import write_text

DEFAULT_MODEL = "english_us_arpa"  # its phones are CMUdict's: ARPAbet with stress
DEFAULT_LANGUAGE = "en"
WORKSPACE = ".mfa-"  # begins the name of the folder that a run works in


@dataclass(frozen=True)
class Options:
    """What the command line says about MFA."""

    acoustic_model: str | None  # name or file; None: DEFAULT_MODEL
    dictionary: str | None  # name or file; None: one is written, of the pronunciations that synthesis uses
    language: str  # code: recordings in others are left alone
    jobs: int


@dataclass(frozen=True)
class Aligned:
    """What a run of MFA brought, by the labels of tasks."""

    fresh: Sequence[str]  # TextGrids it made
    failures: Mapping[str, str]  # recordings without one -> the reason


def align(tasks: Sequence[Task], folder: Path, options: Options) -> Aligned:
    """Align the recordings in `options.language` that have no TextGrid yet, or are to be made again.

    folder: preprocessed_path; the work is done in a folder in there that is removed however this ends.
    Raises UserError when MFA is not installed, fails, or has no model for the language.
    """
    _remove_workspaces(folder)
    mine = [task for task in tasks if task.language == options.language]
    failures = {
        task.label: f"this is {task.language}, not {options.language}; see --mfa_language"
        for task in tasks
        if task.language != options.language
    }
    missing = [task for task in mine if task.force or not task.textgrid_path.exists()]
    if missing:
        mfa, model = find_mfa(), _model(options)
        refusals = dict(zip(missing, ordered_map(_refusal, missing, options.jobs, chunk=8), strict=True))
        usable = [task for task in missing if refusals[task] is None]
        failures |= {task.label: reason for task, reason in refusals.items() if reason is not None}
        with _workspace(folder) as work:
            said = _run(mfa, model, usable, work, options) if usable else []
            for task in missing:  # only now: MFA may have failed, and what fails must not keep its former boundaries
                task.textgrid_path.unlink(missing_ok=True)
            failures |= _collect(usable, said, work, options.jobs)
    fresh = [task.label for task in missing if task.label not in failures]
    return Aligned(fresh, failures)


def _model(options: Options) -> str:
    if options.acoustic_model is None and options.language != DEFAULT_LANGUAGE:
        raise UserError(
            f"the acoustic model {DEFAULT_MODEL} speaks English, and the recordings are in {options.language}; name "
            "one with --mfa_acoustic_model, or align those in English with --mfa_language en"
        )
    return _name_or_path(options.acoustic_model or DEFAULT_MODEL)


def _name_or_path(text: str) -> str:
    """A file's full path, since MFA runs elsewhere; anything else is a name."""
    return str(Path(text).resolve()) if Path(text).is_file() else text


def _refusal(task: Task) -> str | None:
    """Why MFA need not be bothered with this recording."""
    try:
        return unusable(task, load_recording(task)[0])
    except UserError as error:
        return str(error)


@contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=WORKSPACE, dir=folder)).resolve()
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror or error}") from error
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _remove_workspaces(folder: Path) -> None:
    for left in folder.glob(f"{WORKSPACE}*"):
        shutil.rmtree(left, ignore_errors=True)


def _run(mfa: str, model: str, tasks: Sequence[Task], work: Path, options: Options) -> list[str]:
    """Lay out the corpus and run MFA; returns what it said."""
    corpus, output = work / "corpus", work / "output"
    spellings = _spellings(tasks) if options.dictionary is None else None
    dictionary = _name_or_path(options.dictionary or "")
    if spellings is not None:
        dictionary = str(work / "pronunciations.dict")
        lines = {f"{spelling} {' '.join(word.phones)}\n" for word, spelling in spellings.items()}
        write_text(work / "pronunciations.dict", "".join(sorted(lines)))
    for task in tasks:
        folder = corpus / task.speaker
        make_folder(folder)
        words = [word.text if spellings is None else spellings[word] for word in task.words]
        write_bytes(folder / f"{task.name}.lab", f"{' '.join(words)}\n".encode())
        _link(task.wav_path.resolve(), folder / f"{task.name}.wav")
    single = ["--single_speaker"] if options.jobs > 1 and len({task.speaker for task in tasks}) == 1 else []
    command = [
        mfa, "align", "--clean", *single, "--output_format", "long_textgrid", "-j", str(options.jobs),
        "-t", str(work / "temporary"), str(corpus), dictionary, model, str(output),
    ]  # fmt: skip
    return run_mfa(command, work, work.parent / "mfa.log", model)


def _spellings(tasks: Sequence[Task]) -> dict[SpokenWord, str]:
    """A spelling for every word, so that each spelling has one pronunciation: "read" (R EH1 D), "readqa" (R IY1 D).

    Only the letters a to z: MFA has rules of its own for everything else.
    """
    tried: Counter[str] = Counter()
    spellings: dict[SpokenWord, str] = {}
    chosen: dict[tuple[str, tuple[str, ...]], str] = {}
    taken: set[str] = set()
    for word in sorted({word for task in tasks for word in task.words}, key=lambda word: (word.text, word.phones)):
        letters = "".join(letter for letter in word.text.lower() if "a" <= letter <= "z") or "q"
        spelling = chosen.get((letters, word.phones), letters)
        while spelling in taken and (letters, word.phones) not in chosen:
            spelling = f"{letters}q{_letters(tried[letters])}"
            tried[letters] += 1
        taken.add(spelling)
        spellings[word] = chosen.setdefault((letters, word.phones), spelling)
    return spellings


def _letters(number: int) -> str:
    """0, 1, …, 25, 26, 27 -> a, b, …, z, ba, bb."""
    rest, digit = divmod(number, 26)
    return (_letters(rest) if rest else "") + chr(ord("a") + digit)


def _link(source: Path, target: Path) -> None:
    """A link where the file system has them, else a copy."""
    for make in (os.symlink, os.link, shutil.copyfile):
        try:
            make(source, target)
            return
        except OSError as error:
            failure = error
    raise UserError(f"cannot write {target}: {failure.strerror or failure}; free space or permissions?")


def _collect(tasks: Sequence[Task], said: Sequence[str], work: Path, jobs: int) -> dict[str, str]:
    """Put what MFA made into its place; labels of the others -> why they have none."""
    items = [(task, work / "output" / task.speaker / f"{task.name}.TextGrid") for task in tasks]
    made = [item for item in items if item[1].is_file()]
    failures = {}
    for task, path in items:
        if not path.is_file():
            reason = reason_for(task.name, said)
            why = f"; it says: {reason}" if reason else " (its beam was too narrow, or this is not what is spoken)"
            failures[task.label] = f"Montreal Forced Aligner found no alignment{why}"
    problems = ordered_map(_take, made, jobs, preload=("numpy", "soundfile", "praatio.textgrid"), chunk=8)
    for (task, _), problem in zip(made, problems, strict=True):
        if problem is not None:
            failures[task.label] = f"Montreal Forced Aligner's TextGrid cannot be used: {problem}"
    return failures


def _take(item: tuple[Task, Path]) -> str | None:
    """Move one TextGrid, in our form, to where it belongs; or what is wrong with it."""
    task, made = item
    wav, sampling_rate = load_recording(task)
    neat = made.with_suffix(".neat.TextGrid")
    try:
        adopt(made, neat, task, len(wav), sampling_rate)
        problem = examine(neat, task, wav, sampling_rate).problem
    except (AlignmentError, UserError) as error:
        return str(error)
    if problem is not None:
        return problem
    try:
        task.textgrid_path.parent.mkdir(parents=True, exist_ok=True)
        neat.replace(task.textgrid_path)  # both lie in preprocessed_path: the move is one step
    except OSError as error:
        raise UserError(f"cannot write {task.textgrid_path}: {error.strerror or error}") from error
    return None
