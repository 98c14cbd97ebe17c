"""What a benchmark yields, and how it goes to JSON and back."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from errors import UserError
from utils.files import read_json, write_json

VERSION = 1  # of the JSON
# Exponent of cost over size above which growth counts as worse than linear; the margin is what noise makes of 1.0.
LINEAR = 1.15


@dataclass(frozen=True)
class Unit:
    """One unit of work of calibrate.py, measured just before a group with the same number of threads."""

    wall: float  # seconds
    cpu: float  # seconds


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, once per round."""

    wall: list[float]
    cpu: list[float]

    def per(self, count: float) -> Timing:
        """The same for each of `count` equal parts."""
        return Timing([value / count for value in self.wall], [value / count for value in self.cpu])

    def less(self, other: Timing, count: float = 1.0) -> Timing:
        """What is left after subtracting `other`, round by round, for each of `count` parts."""
        pairs = ((self.wall, other.wall), (self.cpu, other.cpu))
        wall, cpu = ([(a - b) / count for a, b in zip(*pair, strict=True)] for pair in pairs)
        return Timing(wall, cpu)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    group: str
    name: str
    median: float
    low: float  # smallest of all rounds
    high: float  # largest of all rounds
    unit: str = "s"  # of median, low and high
    cpu: float | None = None  # CPU seconds, all threads and child processes; median
    wall_units: float | None = None  # median over the calibration's wall seconds
    cpu_units: float | None = None  # cpu over the calibration's CPU seconds
    note: str = ""
    worse: bool = False  # grows faster than its input

    @classmethod
    def timed(cls, group: str, name: str, timing: Timing, unit: Unit | None, note: str = "") -> Row:
        """A row in seconds; without a calibration (or on a GPU, where it says nothing) its unit columns stay empty."""
        wall, cpu = statistics.median(timing.wall), statistics.median(timing.cpu)
        return cls(
            group,
            name,
            wall,
            min(timing.wall),
            max(timing.wall),
            cpu=cpu,
            wall_units=None if unit is None else wall / unit.wall,
            cpu_units=None if unit is None else cpu / unit.cpu,
            note=note,
        )

    @classmethod
    def plain(cls, group: str, name: str, values: Sequence[float], unit: str, note: str = "") -> Row:
        """A row of something else than time: %, MB …"""
        return cls(group, name, statistics.median(values), min(values), max(values), unit, note=note)


@dataclass(frozen=True)
class Growth:
    """Cost over size, for one plot."""

    name: str
    axis: str  # what the sizes count
    sizes: list[int]
    seconds: list[float]  # median of what `measure` says
    low: list[float]
    high: list[float]
    measure: str  # "CPU s" or "wall s"
    exponent: float  # slope on log-log axes, where a fixed cost no longer hides it
    fixed: float = 0.0  # seconds that do not grow (start-up), subtracted for the exponent

    @property
    def worse(self) -> bool:
        """Whether cost grows faster than size."""
        return self.exponent > LINEAR


@dataclass
class Report:
    """Everything one run of benchmark.py found."""

    about: dict[str, str] = field(default_factory=dict)  # machine, versions, data
    quick: bool = False
    units: dict[str, list[Unit]] = field(default_factory=dict)  # of each group
    rows: list[Row] = field(default_factory=list)
    growths: list[Growth] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # group -> why
    failed: dict[str, str] = field(default_factory=dict)  # group -> why

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, {"version": VERSION, **plain(self)})

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read what `save` wrote; UserError naming the file for anything else."""
        values = read_json(path, "benchmark.py")
        try:
            if values.pop("version") != VERSION:
                raise UserError(f"{path} was written by another version of benchmark.py; measure again with this one")
            values["rows"] = [Row(**row) for row in values["rows"]]
            values["growths"] = [Growth(**growth) for growth in values["growths"]]
            values["units"] = {name: [Unit(**unit) for unit in units] for name, units in values["units"].items()}
            return cls(**values)
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(f"{path} is no table of benchmark.py ({error!r}); give the bench.json it wrote") from error


def plain(value: Any) -> Any:
    """Dataclasses, lists and dicts of them -> what JSON holds."""
    if hasattr(value, "__dataclass_fields__"):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value
