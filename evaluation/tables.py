"""The comparison of systems as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.metrics import METRICS, PROSODY
from evaluation.summary import GROUPS, in_order

BLOCKS = (
    ("mcd", "f0_rmse", "f0_correlation", "voicing_error", "f0_frame_error", "voiced_kept", "energy_correlation"),
    ("duration_error", "rate", "level", "variance_ratio", "similarity", "speaker_right"),
    ("emotion_right", "word_accuracy"),
    ("emotion2vec_right", "whisper_words", "utmos"),
)
BY_GROUP = {  # the report shows these; report.json has all of them for every group
    "emotion": ("mcd", "f0_rmse", "f0_correlation", "voiced_kept", "rate", "emotion_right", "word_accuracy"),
    "speaker": ("mcd", "similarity", "emotion_right"),
    "intensity": ("mcd", "f0_correlation", "variance_ratio", "emotion_right", "word_accuracy"),
    "sex": ("voiced_kept", "voicing_error", "f0_rmse", "similarity", "emotion_right", "word_accuracy"),
    "pitch": ("voiced_kept", "voicing_error", "f0_frame_error", "f0_rmse"),
}  # fmt: skip
METHOD = """\
Every number is a mean over utterances with its 95% bootstrap interval (utterances drawn with replacement, 1,000 times;
it says nothing about other speakers or sentences). Waveforms are the recordings' parts that the mel spectrograms cover,
and what the systems make of them. MCD (Kubichek 1993): coefficients 1 to 24 of WORLD's envelopes (CheapTrick, 5 ms),
cosine series over the mel scale up to 95% of the mel spectrograms' range, along the path of dynamic time warping on
which pitch and energy are compared, too. RMSE and correlation of F0 see only frames that both voice, and so spare a
system that loses the difficult ones. The F0 frame error (Chu and Alwan 2009) counts those, too.
Only the level itself and the judge of emotions, for whom loudness is part of an emotion, depend on the level.
Similarity: cosine of the GE2E embedding to the mean of the speaker's other recordings. Emotion accuracy: support vector
machines on mel, cepstra, pitch and level, normalised per speaker by real recordings, each trained on recordings of
other speakers than those it judges. Word accuracy: pocketsphinx, every word equally probable everywhere, the corpus's
own among 200 others; insertions may bring it below 0. The row of the recordings is the ceiling of all three.
"""
PITCH = {
    "dio": "Pitch and voicing: DIO with StoneMask; it misses 8% of the voiced frames even of Griffin-Lim copies.\n",
    "harvest": "Pitch and voicing: Harvest, where D4C's love train finds a voice.\n",
}
Groups = Mapping[str, Any]


def comparison(report: Mapping[str, Any]) -> str:
    """The part of report.md about systems: `report` is what evaluation.comparison.compare_systems returns."""
    systems = report["systems"]
    parts = ["## Systems\n", METHOD + PITCH[report["pitch"]], _legend(systems), _notes(report)]
    everything = {name: system["overall"] for name, system in systems.items()}
    parts += [_table("system", everything, block) for block in BLOCKS if _any(everything, block)]
    parts += [_ceiling(report), _less_real(systems), _order(report["emotion_order"])]
    parts += [_confusions(report)]
    parts += [_grouped(systems, kind) for kind in GROUPS]
    return "\n".join(part for part in parts if part)


def _legend(systems: Groups) -> str:
    rows = (f"| {name} | {system['about']} | {system['utterances']} |\n" for name, system in systems.items())
    return "| system | what | utterances |\n|---|---|---|\n" + "".join(rows)


def _notes(report: Mapping[str, Any]) -> str:
    lines = [f"- {note}" for note in report["notes"]]
    lines += [f"- left out: {name}: {reason}" for name, reason in report["left_out"].items()]
    return "\n".join(lines) + "\n" if lines else ""


def _any(groups: Groups, metrics: Sequence[str]) -> bool:
    return any(group[metric] is not None for group in groups.values() for metric in metrics)


def _table(kind: str, groups: Groups, metrics: Sequence[str]) -> str:
    """Rows: systems; columns: metrics."""
    titles = (f"{METRICS[name].title}{f' ({METRICS[name].unit})' if METRICS[name].unit else ''}" for name in metrics)
    head = f"| {kind} | " + " | ".join(titles) + " |\n" + "|---" * (len(metrics) + 1) + "|\n"
    rows = (f"| {name} | " + " | ".join(cell(group[m], m) for m in metrics) + " |\n" for name, group in groups.items())
    return head + "".join(rows)


def cell(value: Sequence[float] | None, metric: str, interval: bool = True) -> str:
    """[mean, low, high, count] -> "6.31 (6.05-6.58)"; a dash where there is nothing."""
    if value is None:
        return "–"
    digits = METRICS[metric].digits
    mean = f"{value[0]:.{digits}f}"
    return f"{mean} ({value[1]:.{digits}f} … {value[2]:.{digits}f})" if interval else mean


def _ceiling(report: Mapping[str, Any]) -> str:
    found = report["judge_on_all_recordings"]
    if found is None:
        return ""
    chance = 1 / len(report["emotions"])
    return (
        f"On all {found[3]} recordings of the corpus, each judged by a machine that never heard its speaker, the judge "
        f"is right in {found[0]:.3f} ({found[1]:.3f} … {found[2]:.3f}); guessing would be in {chance:.3f}.\n"
    )


def _less_real(systems: Groups) -> str:
    others = {name: system["less_real"] for name, system in systems.items() if name != "real"}
    metrics = [
        name
        for name in ("similarity", "emotion_right", "word_accuracy", "rate", "variance")
        if any(other.get(name) is not None for other in others.values())
    ]
    if not metrics:
        return ""
    filled = {name: {metric: other.get(metric) for metric in metrics} for name, other in others.items()}
    return "Less the recording's, utterance by utterance (words: utterances weigh the same here):\n\n" + _table(
        "system", filled, metrics
    )


def _order(orders: Groups) -> str:
    head = "| system | " + " | ".join(PROSODY.values()) + " |\n" + "|---" * (len(PROSODY) + 1) + "|\n"
    rows = []
    for name, order in orders.items():
        shown = (order[feature]["spearman"] for feature in PROSODY)
        rows.append(f"| {name} | " + " | ".join("–" if value is None else f"{value:.2f}" for value in shown) + " |\n")
    title = "## Order of the emotions\n\nSpearman's rank correlation of the emotions' means with the recordings':\n\n"
    return title + head + "".join(rows)


def _confusions(report: Mapping[str, Any]) -> str:
    if report["judge_on_all_recordings"] is None:
        return ""
    return "## Emotions as judged\n\n![rows: true; columns: judged; shares of the row](judged.png)\n"


def _grouped(systems: Groups, kind: str) -> str:
    """A table per metric. Rows: groups; columns: systems; means only."""
    names = in_order({which for system in systems.values() for which in system["groups"][kind]})
    if len(names) < 2:
        return ""
    parts = [f"## By {'pitch of the recording' if kind == 'pitch' else kind}\n"]
    for metric in BY_GROUP[kind]:
        groups = {
            name: {which: s["groups"][kind].get(which, {}).get(metric) for which in names}
            for name, s in systems.items()
        }
        if not any(value is not None for group in groups.values() for value in group.values()):
            continue
        unit = f" ({METRICS[metric].unit})" if METRICS[metric].unit else ""
        head = f"| {METRICS[metric].title}{unit} | " + " | ".join(groups) + " |\n" + "|---" * (len(groups) + 1) + "|\n"
        rows = (
            f"| {which} | "
            + " | ".join(cell(group[which], metric, interval=False) for group in groups.values())
            + " |\n"
            for which in names
        )
        parts.append(head + "".join(rows))
    return "\n".join(parts)
