"""benchmark.py as a user runs it, and that the original's way of working computes what ours does."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from benchmarks.bench import grow
from benchmarks.gpu import idle_share
from benchmarks.original import OriginalModel
from benchmarks.original_loop import losses, make_optimizer, train_step
from benchmarks.rows import Report, Row, Timing, Unit
from model import AcousticModel, ModelSizes, TrainingLoss
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, assert_ok, assert_refused, command, run_script

CALIBRATE = """
import argparse, json
parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int)
parser.add_argument("--rounds", type=int)
print(json.dumps({"threads": parser.parse_args().threads, "unit_cpu_s": 0.5, "unit_wall_s": 0.25}))
"""


def run_benchmark(*arguments, timeout=300, **environment):
    return subprocess.run(
        command("benchmark.py", *arguments),
        capture_output=True,
        text=True,
        timeout=timeout,
        env=ENVIRONMENT | environment,
        check=False,
    )


@pytest.fixture(scope="module")
def bench_dir(tmp_path_factory):
    """A calibration that is the same everywhere: 0.25 wall and 0.5 CPU seconds."""
    folder = tmp_path_factory.mktemp("calibration")
    (folder / "calibrate.py").write_text(CALIBRATE)
    return folder


@pytest.fixture(scope="module")
def quick(tmp_path_factory, bench_dir):
    """One quick run of two groups, one of which has a plot."""
    output = tmp_path_factory.mktemp("bench")
    result = run_benchmark(
        "--quick", "--threads", "1", "--only", "acoustic", "text", "gpu", "--output", output, BENCH_DIR=str(bench_dir)
    )
    return result, output


def test_a_run_yields_one_table_json_and_plots(quick):
    result, output = quick
    assert_ok(result)
    report = Report.load(output / "bench.json")
    table = [line for line in result.stdout.splitlines() if line.startswith("| ")]
    assert len(table) == 2 + len(report.rows)  # with its head
    assert "\n".join(table) in (output / "bench.md").read_text()
    names = [row.name for row in report.rows]
    assert {"acoustic model, 1 s of speech", "acoustic model, 30 s of speech", "peak memory"} <= set(names)
    assert len(report.growths) == 2
    for growth in report.growths:
        assert growth.sizes == [1, 2, 4]
        assert all(
            low <= middle <= high for low, middle, high in zip(growth.low, growth.seconds, growth.high, strict=True)
        )
    plots = sorted(output.glob("growth-*.png"))
    assert len(plots) == 2
    for plot in plots:
        assert plot.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert plot.stat().st_size > 5000


def test_times_are_divided_by_the_unit(quick):
    _, output = quick
    rows = [row for row in Report.load(output / "bench.json").rows if row.unit == "s"]
    assert rows
    for row in rows:
        assert 0 < row.low <= row.median <= row.high
        assert row.wall_units == pytest.approx(row.median / 0.25)
        assert row.cpu_units == pytest.approx(row.cpu / 0.5)


def test_longer_speech_costs_more_and_memory_is_that_of_the_group(quick):
    _, output = quick
    rows = {(row.group, row.name): row for row in Report.load(output / "bench.json").rows}
    short, long = (rows["acoustic", f"acoustic model, {seconds} s of speech"] for seconds in (1, 30))
    assert long.cpu > 2 * short.cpu
    assert 100 < rows["acoustic", "peak memory"].median < 2000  # MB: PyTorch alone takes 200


def test_a_machine_without_a_gpu_skips_it_with_one_line(quick):
    result, output = quick
    report = Report.load(output / "bench.json")
    if torch.cuda.is_available():
        assert "gpu" not in report.skipped
        return
    assert list(report.skipped) == ["gpu"] and not report.failed
    assert result.stderr.count("no GPU here") == 1


def test_compare_shows_before_after_and_ratio(quick, tmp_path):
    _, output = quick
    report = Report.load(output / "bench.json")
    row = next(row for row in report.rows if row.unit == "s")
    slower = Row.timed(row.group, row.name, Timing([row.median * 3], [row.cpu * 3]), Unit(0.25 * 1.5, 0.5 * 1.5))
    Report(about={"commit": "earlier"}, rows=[slower]).save(tmp_path / "before.json")
    result = run_script("benchmark.py", "--compare", tmp_path / "before.json", output / "bench.json")
    assert_ok(result)
    line = next(line for line in result.stdout.splitlines() if f"| {row.name} |" in line)
    assert line.count("2.00×") == 2  # three times the seconds on a machine that is 1.5 times slower
    assert result.stdout.count("| – |") == len(report.rows) - 1  # the rest was not there before


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    """A quick run where the only recording is broken and there is no calibration."""
    folder = tmp_path_factory.mktemp("troubled")
    broken = folder / "data" / "RAVDESS" / "Actor_01" / "03-01-05-01-01-01-01.wav"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no audio")
    (folder / "data" / "TextGrid").mkdir()
    environment = {"BENCH_DIR": str(folder), "RAVDESS_DATA_DIR": str(folder / "data")}
    groups = ("--only", "prepare", "step", "vocoder")
    result = run_benchmark("--quick", "--threads", "1", *groups, "--output", folder / "out", **environment)
    return result, folder / "out"


def test_a_failing_group_is_reported_and_the_others_go_on(troubled):
    result, output = troubled
    assert result.returncode == 1, result.stderr
    report = Report.load(output / "bench.json")
    assert set(report.failed) == {"prepare", "step"}
    assert "03-01-05-01-01-01-01.wav" in report.failed["prepare"]
    assert {row.group for row in report.rows} == {"vocoder"}
    assert "prepare: FAILED" in (output / "bench.md").read_text()
    vocoders = [row.name.removeprefix("vocoder ") for row in report.rows if row.unit == "s"]
    assert vocoders == ["HiFi-GAN V1", "HiFi-GAN V2", "HiFi-GAN V3", "Fourier", "MelGAN", "Griffin-Lim"]


def test_without_calibration_the_columns_are_empty_and_a_note_says_so(troubled):
    result, output = troubled
    assert "no calibration unit" in result.stdout
    rows = Report.load(output / "bench.json").rows
    assert rows and all(row.wall_units is None and row.cpu_units is None for row in rows)


def test_batches_are_of_recordings_and_what_of_them_is_padding_is_told(tmp_path, bench_dir):
    """Through the real scripts, on RAVDESS where it is at hand, else on the generated corpus."""
    result = run_benchmark(
        "--quick", "--threads", "1", "--only", "data", "--output", tmp_path, BENCH_DIR=str(bench_dir)
    )
    assert_ok(result)
    rows = {row.name: row for row in Report.load(tmp_path / "bench.json").rows}
    assert 0 <= rows["frames that are padding"].median < 50
    assert 0 <= rows["waiting for data, share of step"].median < 100
    assert rows["next batch, first epoch"].median > 0


def test_ctrl_c_keeps_what_was_measured(tmp_path, bench_dir):
    output = tmp_path / "out"
    arguments = ["--threads", "1", "--only", "acoustic", "text", "--output", output]
    environment = ENVIRONMENT | {"BENCH_DIR": str(bench_dir), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command("benchmark.py", *arguments), env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not any("row" in file.read_text() for file in tmp_path.glob("benchmark-*/acoustic.jsonl")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    assert Report.load(output / "bench.json").rows
    assert list(tmp_path.glob("benchmark-*")) == []  # the inputs are gone


def test_mistakes_are_one_line_and_code_2(tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"rows": []}))
    assert_refused(run_script("benchmark.py", "--only", "nonsense"), "nonsense", "vocoder")
    assert_refused(run_script("benchmark.py", "--compare", tmp_path / "missing.json"), r"missing\.json is missing")
    assert_refused(run_script("benchmark.py", "--compare", tmp_path / "other.json"), r"other\.json is no table")


def test_work_that_a_script_leaves_to_its_children_counts():
    """Also where it doesn't wait for them."""
    busy = "import time\nwhile time.process_time() < 0.4: pass"
    script = f"import subprocess, sys, os; subprocess.Popen([sys.executable, '-c', {busy!r}]); os._exit(0)"
    measure = "from benchmarks.timing import run_process; print(run_process([sys.executable, '-c', sys.argv[1]]).cpu)"
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; {measure}", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(result.stdout) > 0.4


@pytest.mark.parametrize(("power", "worse"), [(0.5, False), (1.0, False), (2.0, True)])
def test_growth_is_judged_by_its_exponent(power, worse):
    seconds = {
        size: Timing([0.1 + 0.01 * size**power] * 3, [0.1 + 0.01 * size**power] * 3) for size in (1, 2, 4, 8, 16)
    }
    growth = grow("work", "size", seconds, "CPU s", fixed=0.1)
    assert growth.exponent == pytest.approx(power)
    assert growth.worse == worse


def test_idle_share_of_a_timeline():
    assert idle_share([(0, 2), (1, 3), (6, 8)]) == pytest.approx(3 / 8)
    assert idle_share([(0, 10), (2, 3)]) == 0.0
    assert idle_share([]) == 1.0


# ------------------------------------------------------------------------------ the original's way of working


@pytest.fixture
def model():
    torch.manual_seed(3)
    return AcousticModel(ModelSizes(symbols=50, speakers=3, emotions=4))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(4)
    phone_lengths = torch.tensor([9, 5, 7])
    spoken = torch.arange(9) < phone_lengths[:, None]
    durations = torch.randint(0, 12, (3, 9), generator=generator) * spoken
    mel_lengths = durations.sum(1)
    heard = (torch.arange(int(mel_lengths.max())) < mel_lengths[:, None]).unsqueeze(-1)
    return {
        "phones": torch.randint(1, 50, (3, 9), generator=generator) * spoken,
        "phone_lengths": phone_lengths,
        "speakers": torch.tensor([2, 0, 1]),
        "emotions": torch.tensor([1, 3, 0]),
        "mels": torch.randn(*heard.shape[:2], 80, generator=generator) * heard,
        "mel_lengths": mel_lengths,
        "durations": durations,
    }


def ours(model, batch):
    return model(
        batch["phones"], batch["phone_lengths"], batch["speakers"], emotions=batch["emotions"],
        reference_mels=batch["mels"], reference_lengths=batch["mel_lengths"], durations=batch["durations"],
        use_soft_token=torch.zeros(3, dtype=torch.bool), every_block=True,
    )  # fmt: skip


def test_the_originals_way_computes_the_same_function(model, batch):
    model.eval()
    with torch.no_grad():
        expected = ours(model, batch)
        mels, logits, log_durations = OriginalModel(model).eval()(**batch)
    assert len(mels) == len(expected.mels) == 6
    for own, other in zip(expected.mels, mels, strict=True):
        torch.testing.assert_close(other, own, rtol=0, atol=1e-5)
    torch.testing.assert_close(logits, expected.emotion_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(log_durations, expected.log_durations, rtol=0, atol=1e-5)
    found = losses((mels, logits, log_durations), batch)
    own = TrainingLoss(0.1, 0.1, "mean", "cross_entropy")(
        expected, batch["mels"], batch["durations"], batch["emotions"]
    )
    for name, value in found.items():
        torch.testing.assert_close(value, getattr(own, name), rtol=1e-5, atol=1e-6)


def test_the_originals_step_learns_and_leaves_our_weights_alone(model, batch):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    original = OriginalModel(model).train()
    optimizer = make_optimizer(original)
    device = torch.device("cpu")
    totals = [train_step(original, optimizer, batch, device)["total"] for _ in range(15)]
    assert totals[-1] < totals[0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
