"""preprocess.py a second time: what still holds is kept, what does not is made again, a kill leaves nothing wrong."""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

import preprocess
from preprocessor import corpus_files, features
from preprocessor.records import JOURNAL, RECORDS, read_lines, settle
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, command, wait_for
from tests.small_corpus import ALIGNED, RATE, noise, textgrid, tree, write_raw
from utils.metadata import read_metadata

NAME, SPEAKER = "happy-normal-01-01-Actor_01", "Actor_01"  # one of write_raw's 12
OTHER = "preprocess.preprocessing.mel.mel_fmax=7000"  # the same sizes, other numbers


def arguments(folder, *overrides, output="out", flags=()):
    values = [
        f"preprocess.path.raw_path={folder / 'raw'}", f"preprocess.path.preprocessed_path={folder / output}",
        "preprocess.preprocessing.val_size=3", *overrides,
    ]  # fmt: skip
    flags = ["--dataset", "RAVDESS", "--textgrids", str(folder / "grids"), "--jobs", "1", *flags]
    return flags + [part for value in values for part in ("--set", value)]


@pytest.fixture
def raw(tmp_path):
    write_raw(tmp_path / "raw", tmp_path / "grids")
    return tmp_path


@pytest.fixture
def made(monkeypatch):
    """Names of the utterances that features were computed for, since it was last emptied."""
    names = []
    build = features._build

    def watched(block, item):
        names.append(item.name)
        return build(block, item)

    monkeypatch.setattr(features, "_build", watched)
    return names


@pytest.fixture(autouse=True)
def quick_plot(request, monkeypatch):
    if "plot" not in request.function.__name__:
        monkeypatch.setattr(corpus_files, "plot_speakers", lambda path, *_: path.write_bytes(b""))


def run(folder, *overrides, **kwargs):
    preprocess.main(arguments(folder, *overrides, **kwargs))
    return folder / kwargs.get("output", "out")


def same_as_fresh(folder, out, *overrides):
    """Whether `out` holds what a run into an empty folder writes."""
    shutil.rmtree(folder / "fresh", ignore_errors=True)
    return tree(out) == tree(run(folder, *overrides, output="fresh"))


def test_nothing_to_do_makes_nothing_and_changes_nothing(raw, made):
    out = run(raw)
    assert len(made) == 12
    made.clear()
    before, times = tree(out), {path: path.stat().st_mtime_ns for path in out.glob("*/*.npy")}
    run(raw)
    assert not made and tree(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*.npy")} == times


def test_the_plot_is_kept_while_it_shows_the_same(raw):
    out = run(raw)
    plot = out / "spker_embed_tsne.png"
    drawn = plot.stat().st_mtime_ns
    run(raw)
    assert plot.stat().st_mtime_ns == drawn
    (raw / f"grids/{SPEAKER}/{NAME}.TextGrid").write_text(textgrid(ALIGNED[:-2]))
    run(raw)
    assert plot.stat().st_mtime_ns != drawn


def change_grid(folder):
    (folder / f"grids/{SPEAKER}/{NAME}.TextGrid").write_text(textgrid(ALIGNED[:-2]))


def change_recording(folder):
    soundfile.write(folder / f"raw/{SPEAKER}/{NAME}.wav", noise(0.7, 0.3, 4711), RATE, subtype="PCM_16")


def change_text(folder):
    (folder / f"raw/{SPEAKER}/{NAME}.lab").write_text("Kidd")


def spoil_recording(folder):
    (folder / f"raw/{SPEAKER}/{NAME}.wav").write_bytes(b"no audio")


def remove_grid(folder):
    (folder / f"grids/{SPEAKER}/{NAME}.TextGrid").unlink()


def lose_features(folder):
    (folder / f"out/mel/{SPEAKER}-mel-{NAME}.npy").unlink()


def cut_durations(folder):
    path = folder / f"out/duration/{SPEAKER}-duration-{NAME}.npy"
    path.write_bytes(path.read_bytes()[:-1])


CHANGES = (
    change_grid, change_recording, change_text, spoil_recording, remove_grid, lose_features, cut_durations,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_just_what_changed_is_made_again(raw, made, change):
    out = run(raw)
    made.clear()
    change(raw)
    run(raw)
    assert made == [NAME]
    assert same_as_fresh(raw, out)


def test_what_was_skipped_is_tried_again(raw, made):
    spoil_recording(raw)
    out = run(raw)
    assert len(read_metadata(out / "train.txt")) == 8
    made.clear()
    run(raw)
    assert made == [NAME]
    change_recording(raw)
    run(raw)
    assert len(read_metadata(out / "train.txt")) == 9 and same_as_fresh(raw, out)


def test_what_is_gone_vanishes_and_what_is_new_appears(raw, made):
    out = run(raw)
    parts = [raw / f"raw/{SPEAKER}/{NAME}{suffix}" for suffix in (".wav", ".lab")]
    aside = [path.rename(raw / path.name) for path in parts]
    made.clear()
    run(raw)
    assert not made and same_as_fresh(raw, out) and not [name for name in tree(out) if NAME in name]
    for path, kept in zip(parts, aside, strict=True):
        kept.rename(path)
    made.clear()
    run(raw)
    assert made == [NAME] and same_as_fresh(raw, out)


@pytest.mark.parametrize("change", [OTHER, "preprocess.preprocessing.text.languages=[ko]"])
def test_other_settings_make_all_again(raw, made, change):
    out = run(raw)
    made.clear()
    run(raw, change)
    assert len(made) == 12 and same_as_fresh(raw, out, change)
    run(raw)
    assert same_as_fresh(raw, out)


def test_a_split_makes_nothing_again(raw, made):
    out = run(raw)
    made.clear()
    hold_out = ("preprocess.preprocessing.split.by=speaker", 'preprocess.preprocessing.split.hold_out=["Actor_02"]')
    run(raw, *hold_out)
    assert not made and {entry.speaker for entry in read_metadata(out / "val.txt")} == {"Actor_02"}


def test_force_makes_all_again(raw, made):
    out = run(raw)
    before = tree(out)
    made.clear()
    run(raw, flags=("--force",))
    assert len(made) == 12 and tree(out) == before


def test_statistics_are_exact_after_many_changes(raw):
    out = run(raw)
    change_grid(raw)
    run(raw)
    change_recording(raw)
    run(raw)
    mels = np.concatenate([np.load(path) for path in (out / "mel").glob("*.npy")]).astype(np.float64)
    made = json.loads((out / "stats.json").read_text())
    expected = {"mean": mels.mean(), "std": mels.std(), "min": mels.min(), "max": mels.max()}
    assert made["mel"] == pytest.approx(expected, abs=2e-6) and made["frames"] == len(mels)


def kill_when(condition, *parameters) -> None:
    """Start preprocess.py and kill it as soon as the condition holds."""
    process = subprocess.Popen(
        command("preprocess.py", *parameters), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(condition)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def test_a_run_after_kills_equals_an_unbroken_one(tmp_path):
    """Killed while it makes features; under other settings, while these replace the first ones; and while it writes
    the lists. The sizes of all features agree under both settings, so that only the records can tell them apart."""
    write_raw(tmp_path / "raw", tmp_path / "grids", speakers=[f"Actor_{number:02d}" for number in range(1, 21)])
    out = tmp_path / "out"
    mels = out / "mel"
    kill_when(lambda: len(list(mels.glob("*.npy"))) >= 30, *arguments(tmp_path))
    assert 30 <= len(list(mels.glob("*.npy"))) < 240 and not (out / "train.txt").exists()
    whole = run(tmp_path, output="whole")
    expected = tree(whole)
    assert tree(run(tmp_path)) == expected
    first = mels / "Actor_01-mel-angry-normal-01-01-Actor_01.npy"
    kill_when(lambda: content(first) not in (b"", expected[f"mel/{first.name}"]), *arguments(tmp_path, OTHER))
    assert first.stat().st_size == len(expected[f"mel/{first.name}"]) and not (out / "train.txt").exists()
    assert tree(run(tmp_path)) == expected
    before = (out / "stats.json").stat().st_ino
    kill_when(lambda: (out / "stats.json").stat().st_ino != before, *arguments(tmp_path))
    assert tree(run(tmp_path)) == expected


@pytest.mark.parametrize("given", [False, True])
def test_broken_off_between_the_lists_it_does_not_take_its_own_val_for_a_given_one(raw, monkeypatch, given):
    out = raw / "out"
    out.mkdir()
    if given:
        (out / "val.txt").write_text(f"{NAME}\n")
    expected = tree(run(raw))
    writers = ("write_text", "write_json", "atomic_path", "digest_of")
    for stop_at in range(1, 12):  # every file that the run writes at its end, and the moment before
        with monkeypatch.context() as patch:
            calls = []
            for name in writers:
                patch.setattr(corpus_files, name, failing(getattr(corpus_files, name), calls, stop_at))
            try:
                run(raw)
                finished = True
            except KeyboardInterrupt:
                finished = False
        assert tree(run(raw)) == expected, stop_at
        if finished:
            break
    assert finished and stop_at > 4


def failing(function, calls, stop_at):
    def instead(*arguments):
        calls.append(function)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return function(*arguments)

    return instead


def test_a_journal_is_merged_but_for_the_line_that_a_kill_cut(raw):
    out = run(raw)
    lines = (out / RECORDS).read_text().splitlines(keepends=True)
    (out / RECORDS).write_text("".join(lines[::2]))
    (out / JOURNAL).write_text("".join(lines[1::2])[:-9])
    settle(out)
    assert not (out / JOURNAL).exists()
    assert [line.text for line in read_lines(out / RECORDS)] == lines[:-1]


def test_records_that_make_no_sense_are_as_good_as_none(raw, made):
    out = run(raw)
    lines = (out / RECORDS).read_text().splitlines(keepends=True)
    (out / RECORDS).write_bytes(b"\xff{}\n[]\n" + "".join(lines[3:]).encode() + b'{"speaker": 1}\n')
    made.clear()
    run(raw)
    assert len(made) == 3 and same_as_fresh(raw, out)


class Uncounted:
    def __init__(self, *_):
        pass

    def add(self, kept):
        pass

    def write(self):
        pass


def test_what_the_parent_holds_does_not_grow_with_the_corpus(tmp_path, monkeypatch):
    """Lists and statistics of 300 and of 2,400 utterances: under 200 bytes more for each, of which 16 are meant."""
    import tracemalloc

    from config import load_config
    from preprocessor.plan import plan
    from preprocessor.records import Features, Record, Sums, write_records
    from utils.metadata import Entry

    monkeypatch.setattr(corpus_files, "Speakers", Uncounted)  # its points are limited, and need features
    peaks = []
    for count in (300, 2400):
        folder = tmp_path / str(count)
        keys = sorted((f"S{number % 20:02d}", f"sad-{number:06d}") for number in range(count))
        for speaker, name in keys:
            lab = folder / f"raw/{speaker}/{name}.lab"
            lab.parent.mkdir(parents=True, exist_ok=True)
            lab.touch()
        for part in corpus_files.FOLDERS:
            (folder / "out" / part).mkdir(parents=True)
        (folder / "grids/S00").mkdir(parents=True)
        (folder / f"grids/S00/{keys[0][1]}.TextGrid").touch()
        sums = Sums(80, 1.0, 2.0, 0.0, 1.0)
        write_records(
            folder / "out" / RECORDS,
            (
                Record(
                    speaker, name, "d", [None, None, None], "en",
                    Features(Entry(name, speaker, ("K", "IH1", "D") * 20, "kid " * 20), 1, sums, sums, None),
                ).line()
                for speaker, name in keys
            ),
        )  # fmt: skip
        values = [
            f"preprocess.path.raw_path={folder / 'raw'}", f"preprocess.path.preprocessed_path={folder / 'out'}",
            "preprocess.preprocessing.val_size=10",
        ]  # fmt: skip
        config = load_config("RAVDESS", values).preprocess
        tracemalloc.start()
        summary = corpus_files.finish(plan(config, folder / "grids"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (summary.kept, summary.val) == (count, 10)
        assert Path(folder / "out/train.txt").read_text().count("\n") == count - 10
    assert (peaks[1] - peaks[0]) / 2100 < 200, peaks
