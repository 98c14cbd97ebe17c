"""training.json: where the weights come from, as far as files can tell; and the evaluation report."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from config import Config, known_datasets, load_config
from errors import UserError
from preprocessor.corpus import get_corpus
from utils.files import read_json, write_text
from utils.metadata import read_sexes
from utils.shipped import ROOT

POINTS = 40  # of each curve
REPORT = "evaluation"
REPORT_FILES = ("report.md", "report.json")
# an absolute path of some machine, up to its last name; the slashes of a URL or of "and/or" do not begin one
MACHINE_PATH = re.compile(r"(?<![\w./:~-])/(?:[\w.+~-]+/)+(?=[\w.+~-])")


def training_facts(config: Config, trained: Config, checkpoint: Path, step: int) -> dict[str, Any]:
    """Step, data, curves and versions of the run that wrote `checkpoint`; what no file tells is left out.

    `trained` is the configuration in the checkpoint; `config` says where data and logs lie.
    """
    optimizer = trained.train.optimizer
    return {
        "dataset": trained.dataset,
        "step": step,
        "seed": trained.train.seed,
        "batch_size": optimizer.batch_size * optimizer.grad_acc_step,
        "checkpoint_sha256": digest(checkpoint),
        "data": data_facts(config, trained),
        "curves": {split: curves(Path(config.train.path.log_path) / split, step) for split in ("val", "train")},
        "versions": versions(),
    }


def digest(path: Path) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def versions() -> dict[str, str | None]:
    """Of what exported; `commit` is the project's, None outside a repository."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or None
    except OSError:
        commit = None
    return {"python": platform.python_version(), "torch": version("torch"), "numpy": version("numpy"), "commit": commit}


def data_facts(config: Config, trained: Config) -> dict[str, Any]:
    """The corpora, and from the preprocessed data what was heard and by whom; that part is {} where it is gone."""
    names = trained.preprocess.datasets or [trained.dataset]
    kinds = [load_config(name).preprocess.corpus for name in names if name in known_datasets()]
    abouts = [get_corpus(kind).about for kind in dict.fromkeys(kinds)]
    corpora = [{"title": about.title, "home": about.home, "licence": about.licence} for about in abouts]
    root = Path(config.preprocess.path.preprocessed_path)
    if not (root / "stats.json").is_file():
        return {"corpora": corpora, "speakers": {}}
    stats = read_json(root / "stats.json", "preprocess.py")
    sexes = read_sexes(root / "speaker-info.txt")
    return {
        "corpora": corpora,
        **{key: stats[key] for key in ("utterances", "train", "val", "hours", "emotions") if key in stats},
        "speakers": {
            name: {"utterances": count, "sex": sexes.get(name)} for name, count in stats.get("speakers", {}).items()
        },
    }


def curves(folder: Path, step: int) -> dict[str, Any]:
    """Tag -> last and best value of a TensorBoard log up to `step`, and up to POINTS points in between."""
    if not folder.is_dir():
        return {}
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={SCALARS: 0})
    events.Reload()
    found = {}
    for tag in sorted(events.Tags()[SCALARS]):
        points = [(event.step, round(event.value, 6)) for event in events.Scalars(tag) if event.step <= step]
        if points:
            choose = max if "accuracy" in tag else min
            best = choose(points, key=lambda point: point[1])
            found[tag] = {"last": points[-1], "best": best, "points": thinned(points)}
    return found


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most POINTS of them, evenly spread, the first and the last included."""
    if len(points) <= POINTS:
        return list(points)
    return [points[round(index * (len(points) - 1) / (POINTS - 1))] for index in range(POINTS)]


def find_report(given: Path | None, dataset: str, step: int) -> Path | None:
    """The folder with the evaluation's report.md and report.json: `given`, or where evaluate.py puts those of this
    step; None where there are none.

    Raises UserError where `given` holds no report, or where a report is about another step.
    """
    usual = Path("output/eval") / dataset / str(step)
    places = (usual / "val", usual) if given is None else (given,)
    found = next((folder for folder in places if all((folder / name).is_file() for name in REPORT_FILES)), None)
    if found is None:
        if given is None:
            return None
        raise UserError(f"{given} holds no {' and '.join(REPORT_FILES)}; run evaluate.py, or leave out --evaluation")
    about = read_json(found / "report.json", "evaluate.py")
    about = about.get("step") if isinstance(about, dict) else None
    if about != step:
        raise UserError(f"{found / 'report.json'} is about step {about}, not {step}; run evaluate.py, or name another")
    return found


def copy_report(source: Path, folder: Path) -> None:
    """Text and pictures of a report into `folder`/evaluation; paths of this machine lose their folders."""
    target = folder / REPORT
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.suffix == ".json":  # without the spaces, which are half of it
            text = json.dumps(read_json(path, "evaluate.py"), ensure_ascii=False, separators=(",", ":"))
            write_text(target / path.name, MACHINE_PATH.sub("", text) + "\n")
        elif path.suffix == ".md":
            write_text(target / path.name, MACHINE_PATH.sub("", read_report(path)))
        elif path.suffix in (".png", ".svg"):
            shutil.copyfile(path, target / path.name)


def read_report(path: Path) -> str:
    """A report's text; UserError where it is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not UTF-8 text ({error}); make it again with evaluate.py") from error


def vocoder_facts(config: Config, source: Path, description: Mapping[str, Any], name: str, size: int) -> dict[str, Any]:
    """Name, parameters and file; data, step and curves where train_vocoder.py made it (`description`: its JSON)."""
    facts: dict[str, Any] = {"name": name, "parameters": size, "file": source.name, "sha256": digest(source)}
    made_here = re.match(r"generator_(\d+)\.", source.name)
    if "dataset" in description:
        facts["dataset"] = description["dataset"]
    if made_here:
        facts["step"] = int(made_here[1])
        if source.resolve().parent == Path(config.vocoder.path.ckpt_path).resolve():
            logs = Path(config.vocoder.path.log_path)
            facts["curves"] = {split: curves(logs / split, facts["step"]) for split in ("val", "train")}
    return facts
