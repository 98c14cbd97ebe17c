"""What a group of measurements is given: settings, folders, and where its rows go."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks import calibration, timing
from benchmarks.rows import Growth, Row, Timing, Unit, plain

if TYPE_CHECKING:
    import torch

    from config import Config


Key = TypeVar("Key")

# The original's model and training, which are the schema's defaults: figures are to compare with it.
ORIGINAL: dict[str, object] = {
    "model.transformer": "{}",
    "model.emotion_token_layer": "{}",
    "model.decoder": "{}",
    "model.prosody": "{}",
    "model.intensities": "[]",
    "train.emotion.augment": "{}",
    "train.optimizer.ema": 0,
}


@dataclass(frozen=True)
class Settings:
    """As chosen on the command line."""

    quick: bool  # few rounds, small inputs
    threads: int
    device: str  # cpu, cuda, cuda:N, or auto
    work: Path  # inputs of all groups; goes when the benchmark ends
    output: Path  # what is to stay

    @property
    def rounds(self) -> int:
        """Of most rows."""
        return 2 if self.quick else 5

    @property
    def process_rounds(self) -> int:
        """Of whole processes, which take seconds each."""
        return 1 if self.quick else 3

    @property
    def least(self) -> float:
        """Seconds that a round lasts at least."""
        return 0.01 if self.quick else 0.2

    @property
    def batch_size(self) -> int:
        """Of training; the default configuration's, but for a quick look."""
        return 8 if self.quick else 32

    @property
    def dataset_flags(self) -> list[str]:
        """Command-line flags: RAVDESS's configuration with the original's model, everything below the work folder."""
        return ["--dataset", "RAVDESS", *_set(self._paths | ORIGINAL)]

    @property
    def _paths(self) -> dict[str, object]:
        return {
            "preprocess.path.corpus_path": self.work / "corpus",
            "preprocess.path.raw_path": self.work / "raw",
            "preprocess.path.preprocessed_path": self.work / "features",
            **{f"train.path.{kind}_path": self.work / kind for kind in ("ckpt", "log", "result")},
        }

    def config(self, *overrides: str, ours: bool = False) -> Config:
        """The typed configuration of `dataset_flags`; `ours`: with the model that RAVDESS has by default."""
        from config import load_config

        flags = _set(self._paths if ours else self._paths | ORIGINAL)
        return load_config("RAVDESS", [*flags[1::2], *overrides])

    def torch_device(self) -> torch.device:
        """Where models run."""
        from utils.devices import choose_devices

        return choose_devices(self.device)[0]

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(
            {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}
        )

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Inverse of `to_json`."""
        values = json.loads(text)
        return cls(**{**values, "work": Path(values["work"]), "output": Path(values["output"])})


def _set(values: Mapping[str, object]) -> list[str]:
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


class SkipError(Exception):
    """A group cannot run on this machine; the message says why."""


class Bench:
    """Measures one group and writes each finding at once, so that an interrupted or failing group keeps the earlier."""

    def __init__(self, group: str, settings: Settings, findings: Path) -> None:
        self.group = group
        self.settings = settings
        self._findings = findings
        self._unit: Unit | None = None
        self._on_gpu = False

    def calibrate(self, threads: int | None = None) -> None:
        """Measure the unit of the rows that follow, with so many threads if not with all. This machine's speed may
        change within a minute."""
        if self.settings.quick and self._unit is not None:
            return
        self._unit = calibration.measure(threads or self.settings.threads, 2 if self.settings.quick else 7)
        if self._unit is not None:
            self._write("unit", self._unit)

    def device(self, chosen: torch.device | None = None) -> torch.device:
        """The device to measure on: `chosen`, or the command line's. On a GPU the processor's unit says nothing."""
        import torch

        torch.set_num_threads(self.settings.threads)
        device = chosen or self.settings.torch_device()
        self._on_gpu = device.type == "cuda"
        return device

    def time(self, call: Callable[[], object], per: float = 1.0, rounds: int | None = None) -> Timing:
        """Seconds of `call`, divided by `per`. No row yet."""
        taken = timing.repeat(call, rounds or self.settings.rounds, self.settings.least, self.synchronise)
        return taken.per(per)

    def interleaved(self, calls: Mapping[Key, Callable[[], object]], rounds: int | None = None) -> dict[Key, Timing]:
        """Seconds of each call, in turns: where the machine's speed drifts, their ratios still hold."""
        taken: dict[Key, Timing] = {}
        for turn in range((rounds or self.settings.rounds) + 1):
            for key, call in calls.items():
                each = timing.repeat(call, 1, self.settings.least, self.synchronise, warm=turn > 0)
                if turn:
                    before = taken.get(key, Timing([], []))
                    taken[key] = Timing(before.wall + each.wall, before.cpu + each.cpu)
        self._calibrate_again()
        return taken

    def _calibrate_again(self) -> None:
        """After rounds that took long: their unit is the mean of before and after."""
        before = self._unit
        self.calibrate()
        if before is not None and self._unit is not None:
            self._unit = Unit((before.wall + self._unit.wall) / 2, (before.cpu + self._unit.cpu) / 2)

    def synchronise(self) -> None:
        """Wait until the GPU, where there is one at work, has finished."""
        if self._on_gpu:
            import torch

            torch.cuda.synchronize()

    def timed(self, name: str, taken: Timing, note: str = "") -> None:
        """Add a row of seconds."""
        self._write("row", Row.timed(self.group, name, taken, None if self._on_gpu else self._unit, note))

    def plain(self, name: str, values: list[float], unit: str, note: str = "") -> None:
        """Add a row of something else than seconds."""
        self._write("row", Row.plain(self.group, name, values, unit, note))

    def growth(self, name: str, axis: str, taken: dict[int, Timing], fixed: float = 0.0) -> None:
        """Add rows and a plot of how a cost grows with the size of its input; `fixed` seconds of it do not."""
        grown = grow(name, axis, taken, "wall s" if self._on_gpu else "CPU s", fixed)
        unit = None if self._on_gpu else self._unit
        for size, each in taken.items():
            self._write("row", Row.timed(self.group, f"{name}, {axis} {size}", each, unit))
        verdict = "WORSE than linear" if grown.worse else "linear or better"
        row = Row.plain(self.group, f"{name}: exponent", [grown.exponent], "", f"{verdict}; of {grown.measure}")
        self._write("row", replace(row, worse=grown.worse))
        self._write("growth", grown)

    def _write(self, kind: str, value: Any) -> None:
        with self._findings.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "value": plain(value)}) + "\n")


def grow(name: str, axis: str, taken: dict[int, Timing], measure: str, fixed: float = 0.0) -> Growth:
    """Medians per size, and the exponent: the slope of a straight line through the larger half on log-log axes, median
    over rounds.

    At small sizes a fixed cost hides how the rest grows.
    """
    import numpy as np

    sizes = sorted(taken)
    costs = np.array(
        [taken[size].wall if measure == "wall s" else taken[size].cpu for size in sizes]
    )  # (sizes, rounds)
    tail = max(2, (len(sizes) + 1) // 2)
    logs = np.log(np.maximum(costs[-tail:] - fixed, 1e-9))
    slopes = np.polyfit(np.log(sizes[-tail:]), logs, 1)[0]  # of each round
    values = {"seconds": np.median(costs, 1), "low": costs.min(1), "high": costs.max(1)}
    return Growth(
        name,
        axis,
        sizes,
        **{key: value.tolist() for key, value in values.items()},
        measure=measure,
        exponent=float(np.median(slopes)),
        fixed=fixed,
    )
