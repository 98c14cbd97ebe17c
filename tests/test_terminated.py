"""SIGTERM, as systems and schedulers send it: every script ends within seconds, in order, and the next run completes
what it left. Training is in test_signals.py."""

import filecmp
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import test_signals as scripts
from tests.file_server import FileServer
from tests.kill_harness import Script, files, temporaries
from tests.paths import ROOT
from tests.processes import assert_ok, run_script, with_overrides
from tests.small_archives import corpus, loaded, process, random_zip, started, wait_for
from tests.test_signals import asked_to_end, at_random, at_work, messages
from tests.tiny import make_tiny_dataset, tiny_overrides

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
PATIENCE = 10  # seconds, on a machine that is busy with other things


def trained(root, steps=2):
    """Flags that take a model of a few steps below `root`."""
    settings = tiny_overrides(make_tiny_dataset(root / "data"), root / "results")
    flags = ["--dataset", "Sample", *with_overrides(settings)]
    assert_ok(run_script("train.py", *flags, "--set", f"train.step.total_step={steps}", "--device", "cpu"))
    return [*flags, "--restore_step", "latest"]


def evaluate(root, output):
    return ["evaluate.py", *trained(root), "--output", output, "--losses_only"]


def export(root, output):
    return ["export.py", *trained(root), "--output", output, "--replace"]


def fit_postfilter(root, output):
    return ["fit_postfilter.py", *trained(root)]


def fit_emotion_encoder(root, output):
    return ["fit_emotion_encoder.py", *trained(root), "--steps", "300"]


def assert_terminated(script: Script, code: int, *folders: Path) -> None:
    """In order, with one line; or at once, where it came before or after everything."""
    if code == -signal.SIGTERM:
        assert messages(script) == []
    else:
        assert (code, messages(script)) == (128 + signal.SIGTERM, ["terminated"]), script.err
    assert temporaries(*folders) == []
    assert [path for folder in folders for path in folder.rglob("*.tmp")] == []  # folders that are being made


def contents(folder: Path) -> dict[Path, Path]:
    """Relative and whole paths of what a script made, without records that hold times of files."""
    return {path.relative_to(folder): path for path in files(folder) if path.suffix != ".jsonl"}


CASES = [
    pytest.param(scripts.preprocess, at_work, 0, True, id="preprocess-at_work-all"),
    *(
        pytest.param(make, moment, seed, to_all, marks=pytest.mark.slow,
                     id=f"{make.__name__}-{moment.__name__}-{seed}-{'all' if to_all else 'alone'}")
        for make in (*scripts.SCRIPTS, evaluate, export, fit_postfilter, fit_emotion_encoder)
        for moment, seed in ((at_random, 1), (at_random, 2), (at_work, 3))
        for to_all in (False, True)
        if moment is at_random or make in scripts.SCRIPTS  # the others write at their very end
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "moment", "seed", "to_all"), CASES)
def test_every_script_ends_in_order(tmp_path, make, moment, seed, to_all):
    """Sent to the script alone, as by `kill`, or to all of its processes, as by a service manager."""
    ended = asked_to_end(tmp_path, make, moment, seed, signal.SIGTERM, to_all, PATIENCE)
    if ended is not None and ended[1] != 0:
        assert_terminated(*ended, tmp_path / "results")


@pytest.mark.slow
@pytest.mark.parametrize("make", [scripts.prepare_align, scripts.preprocess])
def test_the_next_run_completes_what_was_ended(tmp_path, make):
    """With the files of an unbroken run."""
    output, whole = tmp_path / "results" / "out", tmp_path / "whole"
    arguments = make(tmp_path, output)
    script = Script(tmp_path / "told", *arguments)
    at_work(tmp_path, output, script, 0)
    script.send(signal.SIGTERM, to_all=True)
    assert_terminated(script, script.end(30), tmp_path / "results")
    assert_ok(run_script(*arguments))
    assert_ok(run_script(*[str(value).replace(str(output), str(whole)) for value in arguments]))
    found, wanted = contents(output), contents(whole)
    assert found.keys() == wanted.keys() and wanted
    assert all(filecmp.cmp(found[name], path, shallow=False) for name, path in wanted.items())


@pytest.mark.slow
def test_a_second_one_ends_it_at_once_and_so_does_a_worker_s_end(tmp_path):
    """The workers see that their parent is gone."""
    output = tmp_path / "results" / "out"
    script = Script(tmp_path / "told", *scripts.align(tmp_path, output))
    at_work(tmp_path, output, script, 0)
    script.send(signal.SIGSTOP)  # so that both wait for it
    script.send(signal.SIGTERM)
    script.send(signal.SIGCONT)
    time.sleep(0.05)
    script.send(signal.SIGTERM)
    assert script.end(10) in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert set(messages(script)) <= {"terminated"}


@pytest.mark.slow
@pytest.mark.parametrize("at", [100_000, 250_000])
def test_download_keeps_what_is_loaded(tmp_path, at):
    target = tmp_path / "R"
    with FileServer({"/a.zip": random_zip()}, stalls=[at]) as server:
        running = started(server, target)
        wait_for(lambda: loaded(target) >= at)
        running.send_signal(signal.SIGTERM)
        output, errors = running.communicate(timeout=PATIENCE)
        assert (running.returncode, errors) == (128 + signal.SIGTERM, "terminated\n")
        assert "the same command goes on" in output and not target.exists() and temporaries(tmp_path) == []
        assert_ok(process(server, target))
        assert server.asked[-1].range is not None
    assert len(corpus(target)) == 3


def test_what_runs_other_scripts_passes_it_on(tmp_path):
    """As pipeline.py and demo.py do; `kill` reaches them alone."""
    inner = f"import pathlib, time; pathlib.Path({str(tmp_path / 'begun')!r}).touch(); time.sleep(60)"
    outer = tmp_path / "outer.py"
    outer.write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom utils.cli import run\nfrom utils.stages import stage\n"
        f"run(lambda _: stage('sleep', ['-c', {inner!r}]), [])\n"
    )
    script = Script(tmp_path / "told", str(outer))
    assert script.until(lambda: (tmp_path / "begun").exists())
    script.send(signal.SIGTERM)
    assert_terminated(script, script.end(PATIENCE), tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("error", [TypeError, ImportError, RuntimeError, ValueError])
def test_what_a_library_makes_of_a_signal_is_still_the_signal(number, error):
    """Torch, being imported, once made `TypeError: expected a message argument` of SIGTERM."""
    text = f"""
import os, time
from utils.cli import run

def main(argv):
    try:
        os.kill(os.getpid(), {int(number)})
        time.sleep(10)
    except BaseException:
        raise {error.__name__}("expected a message argument")

run(main)
"""
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=False)
    said = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
    assert (done.returncode, done.stderr) == (128 + number, f"{said}\n")
