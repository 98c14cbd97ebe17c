"""--cluster: a real Dask scheduler and workers on this machine, each a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from distributed import LocalCluster

import preprocess
from errors import UserError
from preprocessor import cluster, parallel
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, assert_ok, assert_refused, command, processes_with, run_script, wait_for
from tests.small_corpus import tree, write_ravdess, write_raw

SPEAKERS = [f"Actor_{number:02d}" for number in range(1, 13)]


class Dask:
    """A scheduler and its workers; they do not start in the project's folder, as on other machines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marker = f"CLUSTER_TEST_{uuid.uuid4().hex}"
        self.processes: list[subprocess.Popen] = []
        self.start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(folder / "scheduler.json")
        )
        wait_for((folder / "scheduler.json").exists)
        wait_for(lambda: (folder / "scheduler.json").read_text().endswith("}"))
        self.address = json.loads((folder / "scheduler.json").read_text())["address"]

    def start(self, kind: str, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen:
        program = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *arguments]
        environment = {**ENVIRONMENT, self.marker: "1"}
        with (self.folder / f"{kind}-{len(self.processes)}.log").open("w") as log:
            process = subprocess.Popen([*before, *program], cwd=self.folder, env=environment, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def worker(self, threads: int = 1, before: tuple[str, ...] = ()) -> subprocess.Popen:
        place = ("--local-directory", str(self.folder), "--no-nanny", "--nthreads", str(threads))
        log = self.folder / f"worker-{len(self.processes)}.log"
        process = self.start("worker", self.address, *place, before=before)
        wait_for(lambda: "Registered to" in log.read_text())
        return process

    def stop(self, process: subprocess.Popen) -> None:
        process.kill()
        process.wait()
        self.processes.remove(process)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    made = Dask(tmp_path_factory.mktemp("dask"))
    yield made
    for process in list(made.processes):
        made.stop(process)


@pytest.fixture
def two_workers(scheduler):
    """They stay for the next test, having imported torch; a killed one is replaced."""
    while len(scheduler.processes) < 3:
        scheduler.worker()
    return scheduler.processes[1:]


def flags(output):
    """With relative paths, which must mean the same to the workers."""
    return [
        "--dataset", "RAVDESS", "--textgrids", "grids", "--set", "preprocess.path.raw_path=raw",
        "--set", f"preprocess.path.preprocessed_path={output}", "--set", "preprocess.preprocessing.val_size=3",
    ]  # fmt: skip


def prepare_flags(raw):
    return ["--dataset", "RAVDESS", "--corpus_path", "corpus", "--set", f"preprocess.path.raw_path={raw}"]


def run(folder, script, *arguments):
    return subprocess.run(
        command(script, *arguments),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def differences(one, other):
    """Names of the files in which two folders differ."""
    first, second = tree(one), tree(other)
    return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}


def test_a_cluster_makes_the_same_files_also_when_a_worker_dies(tmp_path, scheduler, two_workers):
    write_raw(tmp_path / "raw", tmp_path / "grids", SPEAKERS)
    assert_ok(run(tmp_path, "preprocess.py", *flags("local"), "--jobs", "1"))
    process = subprocess.Popen(
        command("preprocess.py", *flags("shared"), "--cluster", scheduler.address),
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    mels = tmp_path / "shared/mel"
    wait_for(lambda: mels.is_dir() and any(mels.glob("*.npy")))
    scheduler.stop(two_workers[0])
    assert len(list(mels.glob("[!.]*.npy"))) < 72, "the kill came too late to prove anything"
    assert process.wait(timeout=120) == 0 and not process.stderr.read()
    assert not differences(tmp_path / "local", tmp_path / "shared")


def test_prepare_align_on_a_cluster_and_its_errors(tmp_path, scheduler, two_workers):
    paths = write_ravdess(tmp_path / "corpus", actors=range(1, 5))
    assert_ok(run(tmp_path, "prepare_align.py", *prepare_flags("local"), "--jobs", "1"))
    assert_ok(run(tmp_path, "prepare_align.py", *prepare_flags("shared"), "--cluster", scheduler.address))
    assert not differences(tmp_path / "local", tmp_path / "shared")
    paths[0].write_bytes(b"no audio")
    refused = run(tmp_path, "prepare_align.py", *prepare_flags("other"), "--cluster", scheduler.address)
    assert_refused(refused, "unusable recording: corpus/Actor_01/.*not readable as audio")


def test_ctrl_c_ends_the_run_and_leaves_the_workers_to_the_next(tmp_path, scheduler, two_workers):
    write_raw(tmp_path / "raw", tmp_path / "grids", SPEAKERS)
    process = subprocess.Popen(
        command("preprocess.py", *flags("out"), "--cluster", scheduler.address),
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: any((tmp_path / "out").glob("mel/*.npy")))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130 and process.stderr.read() == "interrupted\n"
    assert_ok(run(tmp_path, "preprocess.py", *flags("out"), "--cluster", scheduler.address))
    assert len(processes_with(scheduler.marker)) == 3


def test_a_worker_with_several_threads_is_refused(tmp_path, scheduler):
    worker = scheduler.worker(threads=2)
    try:
        with (
            pytest.raises(UserError, match=r"runs 2 threads; start it with --nthreads 1"),
            parallel.workers(scheduler.address, tmp_path),
        ):
            pass
    finally:
        scheduler.stop(worker)


def hidden(folder: Path) -> tuple[str, ...]:
    """Runs a command where something else lies in the place of `folder`: a machine of its own as to that."""
    return ("unshare", "--map-root-user", "--mount", "sh", "-c", f'mount -t tmpfs none "{folder}" && exec "$@"', "sh")


def test_a_worker_that_does_not_share_the_files_is_refused(tmp_path, scheduler, monkeypatch):
    if not shutil.which("unshare") or subprocess.run([*hidden(tmp_path), "true"], capture_output=True).returncode:
        pytest.skip("no private mounts here")
    monkeypatch.setattr(cluster, "PROBE_SECONDS", 0.3)
    worker = scheduler.worker(before=hidden(tmp_path))
    try:
        with (
            pytest.raises(UserError, match=r"does not see what is written to .*no such file.*shared file system"),
            parallel.workers(scheduler.address, tmp_path / "new" / "folder"),
        ):
            pass
        assert not list(tmp_path.iterdir())
    finally:
        scheduler.stop(worker)


def test_a_cluster_without_workers_is_refused(tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr(cluster, "WORKERS_SECONDS", 0.5)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
        pytest.raises(UserError, match=r"the scheduler has no worker; start some with: dask worker"),
        parallel.workers(empty.scheduler_address, tmp_path),
    ):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense"])
def test_nobody_there_is_one_line(tmp_path, address, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1.0)
    write_raw(tmp_path / "raw", tmp_path / "grids", SPEAKERS[:2])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"--cluster {address}: no Dask scheduler answers there .*start one with"):
        preprocess.main([*flags("out"), "--cluster", address])
    assert not (tmp_path / "out").exists()


def test_a_scheduler_that_goes_away_ends_the_run_with_one_line(tmp_path):
    write_raw(tmp_path / "raw", tmp_path / "grids", SPEAKERS)
    (tmp_path / "dask").mkdir()
    dask = Dask(tmp_path / "dask")
    dask.worker()
    process = subprocess.Popen(
        command("preprocess.py", *flags("out"), "--cluster", dask.address),
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_for(lambda: any((tmp_path / "out").glob("mel/*.npy")))
    finally:
        for started in list(dask.processes):
            dask.stop(started)
    stdout, stderr = process.communicate(timeout=120)
    assert_refused(
        subprocess.CompletedProcess([], process.returncode, stdout, stderr), "connection to the Dask scheduler"
    )
    assert not (tmp_path / "out/train.txt").exists()


def test_without_dask_it_says_what_to_install(tmp_path):
    (tmp_path / "distributed.py").write_text("raise ImportError('No module named distributed')")
    write_raw(tmp_path / "raw", tmp_path / "grids", SPEAKERS[:2])
    environment = {**ENVIRONMENT, "PYTHONPATH": os.fspath(tmp_path)}
    result = subprocess.run(
        command("preprocess.py", *flags("out"), "--cluster", "tcp://127.0.0.1:9"),
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert_refused(result, "pip install -r requirements-cluster.txt")


def test_other_aligners_refuse_the_flag():
    result = run_script("align.py", "--dataset", "RAVDESS", "--aligner", "none", "--cluster", "tcp://127.0.0.1:9")
    assert_refused(result, "--cluster says nothing to --aligner none")
    assert (ROOT / "requirements-cluster.txt").is_file()
