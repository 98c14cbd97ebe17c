"""A report as a Markdown table, against another one, and as plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import calibration
from benchmarks.rows import Growth, Report, Row

NO_UNIT = "no calibration unit: no calibrate.py in BENCH_DIR (default ../shared/bench), so its columns are empty"


def markdown(report: Report) -> str:
    """Header, one table, and what failed or was skipped."""
    lines = ["# Benchmark", ""]
    lines += [f"- {key}: {value}" for key, value in report.about.items()]
    units = [unit for found in report.units.values() for unit in found]
    if units:
        lines.append(f"- calibration unit, measured again before each row or group: {calibration.spread(units)}")
        lines.append("- “units” are wall and CPU seconds over those of the unit measured last, same number of threads")
    else:
        lines.append(f"- {NO_UNIT}")
    head = ("group", "what", "median", "min – max", "CPU s", "units wall", "units CPU", "")
    lines += ["", _line(head), _line(["---"] * 2 + ["---:"] * 5 + ["---"])]
    lines += [_line(_cells(row)) for row in report.rows]
    lines += ["", *(f"- {group}: skipped: {why}" for group, why in report.skipped.items())]
    lines += [f"- {group}: FAILED: {why}" for group, why in report.failed.items()]
    return "\n".join(lines).rstrip() + "\n"


def _cells(row: Row) -> list[str]:
    return [
        row.group,
        f"**{row.name}**" if row.worse else row.name,
        shown(row.median, row.unit),
        "" if row.low == row.high else f"{shown(row.low, row.unit)} – {shown(row.high, row.unit)}",
        "" if row.cpu is None else shown(row.cpu, "s"),
        "" if row.wall_units is None else f"{row.wall_units:.3g}",
        "" if row.cpu_units is None else f"{row.cpu_units:.3g}",
        row.note,
    ]


def shown(value: float, unit: str) -> str:
    """Three digits and the unit: 4.31 ms, 0.27 s, 512 MB."""
    if unit == "s":
        if abs(value) < 1:
            return f"{digits(1000 * value)} ms"
        return f"{digits(value)} s"
    return f"{digits(value)} {unit}".strip()


def digits(value: float) -> str:
    """Three significant digits, never an exponent."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def comparison(before: Report, after: Report) -> str:
    """Two reports side by side, as Markdown. Times are compared in calibration units where both have them: wall and
    CPU; else as they are. A ratio above 1 means that less is needed now."""
    lines = ["# Before and after", ""]
    for name, report in (("before", before), ("after", after)):
        lines.append(f"- {name}: " + "; ".join(f"{key} {value}" for key, value in report.about.items()))
    head = ("group", "what", "before", "after", "units wall", "ratio", "units CPU", "ratio")
    lines += ["", _line(head), _line(["---"] * 2 + ["---:"] * 6)]
    old = {(row.group, row.name): row for row in before.rows}
    new = {(row.group, row.name): row for row in after.rows}
    lines += [_line(_compared(key, old.get(key), new.get(key))) for key in dict.fromkeys([*new, *old])]
    return "\n".join(lines) + "\n"


def _compared(key: tuple[str, str], old: Row | None, new: Row | None) -> list[str]:
    cells = [*key, *("–" if row is None else shown(row.median, row.unit) for row in (old, new))]
    if old is None or new is None:
        return [*cells, "", "", "", ""]
    wall, cpu = _pair(old.wall_units, new.wall_units), _pair(old.cpu_units, new.cpu_units)
    if not wall[1]:
        wall = ("", _ratio(old.median, new.median))
    if not cpu[1] and old.cpu is not None and new.cpu is not None:
        cpu = ("", _ratio(old.cpu, new.cpu))
    return [*cells, *wall, *cpu]


def _pair(old: float | None, new: float | None) -> tuple[str, str]:
    return ("", "") if old is None or new is None else (f"{old:.3g} → {new:.3g}", _ratio(old, new))


def _ratio(old: float, new: float) -> str:
    return f"{old / new:.2f}×" if new > 0 and old > 0 else ""


def plot_growth(growth: Growth, path: Path) -> None:
    """Cost over size on log-log axes, with the straight line that linear growth from the largest size would be."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    from utils.plot import save_figure

    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axis = figure.subplots()
    sizes, costs = growth.sizes, growth.seconds
    below = [cost - low for cost, low in zip(costs, growth.low, strict=True)]
    above = [high - cost for cost, high in zip(costs, growth.high, strict=True)]
    linear = [growth.fixed + (costs[-1] - growth.fixed) * size / sizes[-1] for size in sizes]
    axis.plot(sizes, linear, "--", color="0.6", label="linear" + (f" + {growth.fixed:.1f} s" if growth.fixed else ""))
    colour = "tab:red" if growth.worse else "tab:blue"
    axis.errorbar(sizes, costs, [below, above], fmt="o-", color=colour, capsize=3, label="measured (min – max)")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g} s" if value >= 1 else f"{1000 * value:g} ms")
    )
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(True, which="major", alpha=0.3)
    axis.set_xlabel(growth.axis)
    axis.set_ylabel(growth.measure.removesuffix(" s") + " time")
    verdict = "worse than linear" if growth.worse else "linear or better"
    axis.set_title(f"{growth.name}: exponent {growth.exponent:.2f}, {verdict}", fontsize=11)
    axis.legend()
    save_figure(figure, path)


def file_name(growth: Growth) -> str:
    """growth-training-step.png"""
    words = "".join(letter if letter.isalnum() else " " for letter in growth.name.lower()).split()
    return f"growth-{'-'.join(words)}.png"
