"""Small corpora and alignments for tests: real files, a fraction of a second each."""

import json
from pathlib import Path

import numpy as np
import soundfile

from preprocessor.facts import MANIFEST, Facts

RATE = 22050


def noise(seconds: float, peak: float, seed: int, rate: int = RATE) -> np.ndarray:
    """White noise [samples] float32 whose largest magnitude is `peak`."""
    wav = np.random.default_rng(seed).uniform(-1, 1, int(seconds * rate))
    return (wav / np.abs(wav).max() * peak).astype(np.float32)


def write_ravdess(
    folder: Path, actors=(1, 2), emotions=(3, 5), statements=(1, 2), rate=48000, suffix=".wav"
) -> list[Path]:
    """A corpus in RAVDESS's form; the second emotion is twice as loud as the first, and so on."""
    paths = []
    for actor in actors:
        for number, emotion in enumerate(emotions):
            for statement in statements:
                path = folder / f"Actor_{actor:02d}" / f"03-01-{emotion:02d}-01-{statement:02d}-01-{actor:02d}{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                seed = actor * 1000 + emotion * 10 + statement
                soundfile.write(path, noise(0.5, 0.1 * 2**number * (1 + 0.1 * actor), seed, rate), rate)
                paths.append(path)
    return paths


def textgrid(intervals, tier="phones", end=None) -> str:
    """A TextGrid in the long form with one tier of (start, end, label)."""
    end = max(stop for _, stop, _ in intervals) if end is None else end
    lines = [
        'File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end}", "tiers? <exists>",
        "size = 1", "item []:", "    item [1]:", '        class = "IntervalTier"', f'        name = "{tier}"',
        "        xmin = 0", f"        xmax = {end}", f"        intervals: size = {len(intervals)}",
    ]  # fmt: skip
    for number, (start, stop, label) in enumerate(intervals, start=1):
        lines += [f"        intervals [{number}]:", f"            xmin = {start}", f"            xmax = {stop}"]
        lines += [f'            text = "{label}"']
    return "\n".join(lines) + "\n"


ALIGNED = ((0.0, 0.1, "sil"), (0.1, 0.25, "K"), (0.25, 0.4, "IH1"), (0.4, 0.62, "D"), (0.62, 0.7, "sp"))


def write_raw(
    raw: Path, textgrids: Path, speakers=("Actor_01", "Actor_02"), emotions=("angry", "happy", "sad")
) -> None:
    """What prepare_align.py and align.py leave behind: 0.7 s recordings, both statements of each emotion."""
    for number, speaker in enumerate(speakers):
        facts: dict[str, Facts] = {}
        for emotion in emotions:
            for statement in ("01", "02"):
                name = f"{emotion}-normal-{statement}-01-{speaker}"
                wav = noise(0.7, 0.5, number * 100 + emotions.index(emotion) * 10 + int(statement))
                for folder in (raw / speaker, textgrids / speaker):
                    folder.mkdir(parents=True, exist_ok=True)
                soundfile.write(raw / speaker / f"{name}.wav", wav, RATE, subtype="PCM_16")
                (raw / speaker / f"{name}.lab").write_text("Kid", encoding="utf-8")
                (textgrids / speaker / f"{name}.TextGrid").write_text(textgrid(ALIGNED), encoding="utf-8")
                facts[name] = Facts("normal", statement, "female" if number % 2 else "male")
        write_manifest(raw / speaker, facts)


def write_manifest(folder: Path, facts: dict[str, Facts]) -> None:
    """The part of a speaker's manifest that preprocess.py reads."""
    files = {name: {"facts": fact.as_json()} for name, fact in facts.items()}
    (folder / MANIFEST).write_text(json.dumps({"peak": None, "files": files}), encoding="utf-8")


def tree(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of every file below `folder`, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
