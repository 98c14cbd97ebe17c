"""Training by several processes, on one machine and on two: the same numbers as one process, and one end for all."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from errors import UserError
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, assert_ok, command, run_script, with_overrides
from tests.tiny import make_tiny_dataset, tiny_overrides
from training.peers import LOST, Peers
from training.processes import Question
from training.sampler import LengthBucketSampler, Position
from utils.metadata import read_metadata

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
EXACT = (  # no randomness that depends on the process
    "model.transformer.encoder_dropout=0.0",
    "model.transformer.duration_predictor_dropout=0.0",
    "model.decoder.decoder_dropout=0.0",
    "train.emotion.soft_token_rate=0.0",
    "model.emotion_token_layer.ref_enc_dropout=0.0",
    "train.emotion.augment={}",
    "train.optimizer.eps=1.0e-3",  # smaller, Adam turns the rounding of gradients near zero into whole steps
    "train.optimizer.warm_up_step=200",  # sooner, a ReLU that rounding tips over would move weights by more than 1e-4
    "train.step.log_step=1",
    "train.step.total_step=8",
)
ENDLESS = ("train.step.total_step=100000",)
PATIENCE = 240  # seconds, on a machine that is busy with other things


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


def arguments(data, output, batch_size: int, *overrides: str) -> list[str]:
    size = f"train.optimizer.batch_size={batch_size}"
    return ["--dataset", "Sample", *with_overrides([*tiny_overrides(data, output), size, *overrides])]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Result:
    returncode: int
    out: str
    err: str


def start(line: list[str], **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        line, cwd=ROOT, env=ENVIRONMENT | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def start_nodes(processes: int, *given: str) -> list[subprocess.Popen]:
    """Two torchrun agents that meet on this machine as if they were on two."""
    meeting = ["--rdzv_backend", "c10d", "--rdzv_endpoint", f"127.0.0.1:{free_port()}", "--rdzv_id", "test"]
    agent = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", str(processes)]
    return [start([*agent, *meeting, str(ROOT / "train.py"), *given, "--device", "cpu"]) for _ in range(2)]


def finish(started: list[subprocess.Popen]) -> list[Result]:
    results = []
    for process in started:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            for each in started:
                each.kill()
            raise
        results.append(Result(process.returncode, out, err))
    return results


def load(output, step):
    return torch.load(output / "ckpt" / f"{step}.pth.tar", weights_only=True)


def scalars(output) -> dict[str, dict[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(output / "log" / "train"))
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: {event.step: event.value for event in accumulator.Scalars(tag)} for tag in tags}


def assert_same_training(one: Path, other: Path, first_step: int = 1) -> None:
    """Losses of every step and the weights after the last agree to 1e-4, statistics of the references included."""
    expected, found = scalars(one), scalars(other)
    assert {"loss/total", "loss/mel", "loss/emotion", "loss/duration", "gradient_norm"} <= expected.keys()
    for tag, values in expected.items():
        late = {step: value for step, value in found[tag].items() if step >= first_step}
        assert len(late) == 9 - first_step
        assert late == pytest.approx({step: values[step] for step in late}, rel=1e-4, abs=1e-6), tag
    left, right = load(one, 8)["model"], load(other, 8)["model"]
    before = load(one, 4)["model"]
    moved = max(float((left[name] - before[name]).abs().max()) for name in left if name.endswith("weight"))
    assert moved > 3e-4, moved  # lest weights agree because nothing learns
    for name, tensor in left.items():
        assert torch.allclose(tensor.float(), right[name].float(), rtol=1e-4, atol=1e-4), name


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """One process, 8 utterances a step, 3 steps an epoch."""
    output = tmp_path_factory.mktemp("alone")
    assert_ok(run_script("train.py", *arguments(data, output, 8, *EXACT)))
    return output


def test_two_machines_train_like_one_process_with_the_whole_batch(data, alone, tmp_path):
    nodes = finish(start_nodes(1, *arguments(data, tmp_path, 4, *EXACT)))
    assert [node.returncode for node in nodes] == [0, 0], nodes
    assert sum(node.out.count("done at step 8") for node in nodes) == 1
    assert sorted(path.name for path in (tmp_path / "ckpt").iterdir()) == ["4.pth.tar", "8.pth.tar"]
    assert_same_training(alone, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("masked", ["true", "false"])
def test_two_machines_with_two_processes_each(data, tmp_path, masked):
    encoder = "model.emotion_token_layer.ref_enc_type=convolutions"  # batch normalisation over all processes
    own = (*EXACT, encoder, f"model.emotion_token_layer.mask_padding={masked}")
    padded = 24 if masked == "false" else 8  # without a mask all must be padded alike, so: the whole set in a batch
    assert_ok(run_script("train.py", *arguments(data, tmp_path / "one", padded, *own)))
    nodes = finish(start_nodes(2, *arguments(data, tmp_path / "four", padded // 4, *own)))
    assert [node.returncode for node in nodes] == [0, 0], nodes
    if masked == "true":
        assert_same_training(tmp_path / "one", tmp_path / "four")


def status(pid: int) -> tuple[int, str]:
    """Parent and state of a process; (0, "X") when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0, "X"
    return int(fields[1]), fields[0]


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, in the order of their starts."""
    parents = {int(path.name): status(int(path.name))[0] for path in Path("/proc").glob("[0-9]*")}
    below: list[int] = []
    for child in sorted(child for child, parent in parents.items() if parent == pid):
        below += [child, *descendants(child)]
    return below


def workers(pid: int, word: str) -> list[int]:
    """Those children whose command line holds `word`: training processes, in the order of their ranks."""
    children = [child for child in descendants(pid) if status(child)[0] == pid]
    return [child for child in children if word in Path(f"/proc/{child}/cmdline").read_text()]


def wait_for_checkpoint(output: Path, started: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not any((output / "ckpt").glob("*.pth.tar")):
        assert time.monotonic() < deadline and all(process.poll() is None for process in started)
        time.sleep(0.05)


def assert_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 30  # data loaders look every few seconds whether their process lives
    while left := [pid for pid in pids if status(pid)[1] not in "XZ"]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error:")]


@needs_proc
@pytest.mark.parametrize("victim", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_killed_process_ends_those_it_was_spawned_with_and_one_process_goes_on(data, alone, tmp_path, victim):
    """One process with the batch of two goes on from what two have left, as if nothing had happened."""
    given = arguments(data, tmp_path, 4, *EXACT, *ENDLESS)
    process = start([*command("train.py", *given), "--device", "cpu:2"])
    wait_for_checkpoint(tmp_path, [process])
    pids = descendants(process.pid)
    killed = workers(process.pid, "spawn_main")[victim]
    os.kill(killed, signal.SIGKILL)
    (result,) = finish([process])
    assert result.returncode == LOST, result.err
    assert "Traceback" not in result.err
    (line,) = errors(result.err)
    assert f"process {victim} of 2 (pid {killed}) was killed (Killed)" in line
    step = int(re.search(r"go on from step (\d+) with: python train.py .* --restore_step latest$", line)[1])
    assert (tmp_path / "ckpt" / f"{step}.pth.tar").exists()
    assert_gone(pids)
    for path in (tmp_path / "ckpt").iterdir():
        if path.name != "4.pth.tar":
            path.unlink()
    assert_ok(run_script("train.py", *arguments(data, tmp_path, 8, *EXACT), "--restore_step", "latest"))
    assert_same_training(alone, tmp_path, first_step=5)


@needs_proc
def test_a_killed_process_ends_those_on_other_machines(data, tmp_path):
    nodes = start_nodes(1, *arguments(data, tmp_path, 4, *ENDLESS))
    wait_for_checkpoint(tmp_path, nodes)
    pids = [pid for node in nodes for pid in descendants(node.pid)]
    ranks = {worker: rank_of(worker) for node in nodes for worker in workers(node.pid, "train.py")}
    killed, rank = next((worker, rank) for worker, rank in ranks.items() if rank == 1)
    os.kill(killed, signal.SIGKILL)
    results = finish(nodes)
    assert all(result.returncode for result in results)
    told = [line for result in results for line in errors(result.err)]
    assert len(told) == 1, told
    assert re.search(rf"process {rank} of 2 \(.*, pid {killed}\) no longer answers", told[0])
    assert re.search(r"from step \d+ with: torchrun --nnodes 2 .*train.py .* --restore_step latest$", told[0])
    assert_gone(pids)


def rank_of(pid: int) -> int:
    variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return int(next(variable for variable in variables if variable.startswith("RANK="))[5:])


@needs_proc
@pytest.mark.slow
def test_a_process_that_hangs_is_not_waited_for(data, tmp_path):
    process = start(
        [
            *command("train.py", *arguments(data, tmp_path, 4, *ENDLESS, "train.distributed_timeout=5")),
            "--device",
            "cpu:3",
        ]
    )
    wait_for_checkpoint(tmp_path, [process])
    pids = descendants(process.pid)
    hung = workers(process.pid, "spawn_main")[2]
    os.kill(hung, signal.SIGSTOP)
    (result,) = finish([process])
    assert result.returncode == LOST, result.err
    (line,) = errors(result.err)
    assert f"pid {hung}) no longer answers" in line and "--restore_step latest" in line
    assert_gone(pids)


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_what_ends_one_machine_s_launcher_makes_all_save_once_and_end(data, tmp_path, how):
    """SIGKILL leaves its processes orphaned: they notice. Data loaders get torchrun's signal, too, and go on."""
    nodes = start_nodes(2, *arguments(data, tmp_path, 2, *ENDLESS, "train.step.save_step=5", "train.num_workers=2"))
    wait_for_checkpoint(tmp_path, nodes)
    pids = [pid for node in nodes for pid in descendants(node.pid)]
    nodes[1].send_signal(signal.Signals[how])
    results = finish(nodes)
    assert all(result.returncode for result in results)
    stopped = [step for result in results for step in re.findall(r"stopped at step (\d+)", result.out)]
    assert len(stopped) == 1, results
    assert (tmp_path / "ckpt" / f"{stopped[0]}.pth.tar").exists()
    assert not [line for result in results for line in errors(result.err)]
    assert_gone(pids)


def test_an_error_of_one_process_is_told_once_and_ends_all(data, tmp_path):
    """A broken file that any of the processes may come upon."""
    own = make_tiny_dataset(tmp_path / "data")
    broken = read_metadata(own / "train.txt")[5]
    path = own / "mel" / f"{broken.speaker}-mel-{broken.name}.npy"
    path.write_bytes(path.read_bytes()[:-400])
    result = run_script("train.py", *arguments(own, tmp_path, 4, *ENDLESS), "--device", "cpu:2", timeout=PATIENCE)
    assert result.returncode == 2, result.stderr
    assert len(errors(result.stderr)) == 1 and str(path) in errors(result.stderr)[0], result.stderr
    assert "Traceback" not in result.stderr


def test_machines_with_other_data_are_refused(data, tmp_path):
    """Started as schedulers other than torchrun do: nothing but the environment."""
    other = make_tiny_dataset(tmp_path / "other")
    lines = (other / "train.txt").read_text().splitlines(keepends=True)
    (other / "train.txt").write_text("".join(lines[1:]))
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "GROUP_RANK": "0"}
    results = finish(
        [
            start([*command("train.py", *arguments(root, tmp_path, 4)), "--device", "cpu"], **meeting, RANK=str(rank))
            for rank, root in enumerate((data, other))
        ]
    )
    assert [result.returncode for result in results] == [2, 2]
    (line,) = errors(results[0].err + results[1].err)
    assert "differs" in line and "process 0 of 2" in line and "process 1 of 2" in line
    assert not (tmp_path / "ckpt").exists()


@pytest.mark.slow
def test_the_number_of_processes_may_change(data, tmp_path):
    """2 -> 1 -> 4, always 8 utterances a step: as one process trains from the start."""
    total = 0
    for processes in (2, 1, 4):
        total += 2
        given = arguments(data, tmp_path / "changed", 8 // processes, *EXACT, f"train.step.total_step={total}")
        resume = ["--restore_step", "latest"] if total > 2 else []
        assert_ok(run_script("train.py", *given, *resume, "--device", f"cpu:{processes}", timeout=PATIENCE))
    assert_ok(run_script("train.py", *arguments(data, tmp_path / "one", 8, *EXACT, "train.step.total_step=6")))
    left, right = load(tmp_path / "one", 6), load(tmp_path / "changed", 6)
    assert left["sampler"] == right["sampler"]
    for name, tensor in left["model"].items():
        assert torch.allclose(tensor.float(), right["model"][name].float(), rtol=1e-4, atol=1e-4), name


LENGTHS = [20 + (37 * number) % 100 for number in range(101)]


@pytest.mark.parametrize(("batch_size", "world"), [(4, 1), (4, 2), (2, 4), (8, 3)])
def test_processes_share_the_batches_of_one(batch_size, world):
    whole = LengthBucketSampler(LENGTHS, batch_size * world, seed=7)
    shares = [LengthBucketSampler(LENGTHS, batch_size, 7, rank, world) for rank in range(world)]
    for epoch in range(2):
        parts = [share.epoch(epoch) for share in shares]
        assert {len(part) for part in parts} == {whole.batches}
        for batch, own in zip(whole.epoch(epoch), zip(*parts, strict=True), strict=True):
            assert all(own) and all(len(part) <= batch_size for part in own)
            together = sorted(index for part in own for index in part)
            assert together == sorted(batch) or len(batch) < world
            means = [sum(LENGTHS[index] for index in part) / len(part) for part in own]
            assert max(means) - min(means) <= max(LENGTHS[i] for i in batch) - min(LENGTHS[i] for i in batch)


def test_every_process_has_something_to_do_even_with_very_few_utterances():
    shares = [LengthBucketSampler([30, 40, 50], 2, 7, rank, 5).epoch(0) for rank in range(5)]
    assert all(len(share) == 1 and share[0] for share in shares)
    assert {index for share in shares for index in share[0]} == {0, 1, 2}


def test_the_position_in_the_data_survives_another_number_of_processes():
    one, four = (LengthBucketSampler(LENGTHS, 8 // world, 7, 0, world) for world in (1, 4))
    four.resume(one.position(17))
    assert four.start == one.position(17) == Position(1, 4, 13)
    larger = LengthBucketSampler(LENGTHS, 8, 7, 0, 2)  # twice as many at once: half as many batches
    larger.resume(one.position(17))
    assert larger.start == Position(1, 2, 7)


def peers_of(world: int) -> list[Peers]:
    """Peers of several ranks in threads of this process; each has to wait for the others."""
    store, made = dist.HashStore(), {}
    threads = [
        threading.Thread(target=lambda rank=rank: made.update({rank: Peers(store, rank, world)}))
        for rank in range(world)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return [made[rank] for rank in range(world)]


def test_who_answers_is_not_missing(capsys):
    """2 sits in a collective operation, 1 has ended by an error, 3 is dead."""
    peers = peers_of(4)
    peers[2].start()
    peers[1].leave("disk full")
    told = peers[0].missing(RuntimeError("Connection closed by peer"))
    assert re.fullmatch(
        r"process 1 of 4 \(.*\) ended: disk full; process 3 of 4 \(.*, pid \d+\) no longer answers: .*", told
    )
    peers[2].close()
    peers[0].tell("once")
    peers[2].tell("twice")
    assert capsys.readouterr().err == "error: once\n"


def test_what_differs_is_refused_everywhere():
    peers = peers_of(3)
    refused = []

    def compare(peer: Peers) -> None:
        peer.compare("the seed", "1")
        try:
            peer.compare("the step", "7" if peer.rank == 2 else "4")
        except UserError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=compare, args=[peer]) for peer in peers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(refused) == 3 and len(set(refused)) == 1
    assert re.search(r"the step differs: 4 in process 0 .* 7 in process 2", refused[0])


def test_a_question_without_others_is_answered_at_once():
    assert Question(15, None).answer() == 15 and Question(0, None).answer() == 0


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [("bfloat16", "float32", "float32"), ("float32", "bfloat16", "float32"), ("bfloat16", "bfloat16", "bfloat16")],
)
def test_processes_train_in_half_precision_where_all_choose_it(first, second, both):
    line = [sys.executable, "-m", "tests.agreeing", first, second]
    result = subprocess.run(line, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [both, both]
