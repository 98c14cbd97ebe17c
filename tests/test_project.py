"""The project as a whole: who imports whom, how scripts start, and that its files name only what exists."""

import ast
import re
import subprocess
import sys
import time

import pytest
import yaml

from tests.paths import ROOT
from tests.processes import ENVIRONMENT, command

LEAVES = {"config", "text", "audio", "hifigan", "melgan", "deepspeaker"}
SCRIPTS = {
    "download", "prepare_align", "align", "preprocess", "train", "synthesize", "evaluate", "make_sample_corpus", "demo",
    "pipeline", "export", "benchmark", "train_vocoder", "fit_postfilter", "fit_emotion_encoder",
    "fit_pitch", "doctor",
}  # fmt: skip
MODULES = {"dataset", "acoustic", "vocoder", "vocoder_weights", "learned_alignment", "errors"}
# A package may import these of ours, itself and `errors` aside. Scripts may import everything but scripts.
ALLOWED = {
    **{leaf: set() for leaf in LEAVES},
    "errors": set(),
    "utils": {"config"},
    "model": {"utils"},
    "dataset": {"config", "text", "utils"},
    "acoustic": {"config", "text", "audio", "utils", "model"},
    "fourier": {"audio"},
    "vocoder_weights": {"config", "fourier", "hifigan", "utils"},
    "vocoder": {"config", "audio", "fourier", "hifigan", "melgan", "utils", "vocoder_weights"},
    "downloads": {"utils"},
    "preflight": {"config", "text", "deepspeaker", "utils", "vocoder", "preprocessor"},
    "preprocessor": {"config", "text", "audio", "deepspeaker", "utils"},
    "learned_alignment": {"config", "text", "audio", "utils", "model", "acoustic", "preprocessor"},
    "shipping": {"config", "utils", "model", "acoustic", "hifigan", "vocoder", "preprocessor"},
    "training": {"config", "text", "utils", "model", "dataset", "acoustic", "vocoder"},
    "vocoder_training": {"config", "audio", "utils", "hifigan", "fourier", "dataset", "acoustic", "training"}
    | {"preprocessor", "vocoder_weights"},
    "evaluation": {"config", "audio", "text", "utils", "model", "dataset", "acoustic", "vocoder", "preprocessor"},
    "synthesis": {"config", "text", "audio", "utils", "model", "dataset", "acoustic", "vocoder"},
}
ALLOWED["benchmarks"] = set(ALLOWED)  # it measures whatever there is
OURS = set(ALLOWED) | SCRIPTS


def python_files():
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = tracked.stdout.split() or [str(path.relative_to(ROOT)) for path in ROOT.glob("[!.]*/*.py")]
    return [ROOT / name for name in names if not name.startswith("tests/")]


def imports_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def package_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_imports_flow_one_way():
    seen = set()
    for path in python_files():
        owner = package_of(path)
        seen.add(owner)
        for name in imports_of(ast.parse(path.read_text())):
            target = name.partition(".")[0]
            if target not in OURS or target in (owner, "errors"):
                continue
            assert target not in SCRIPTS, f"{path} imports the script {target}"
            if owner not in SCRIPTS:
                assert target in ALLOWED[owner], f"{path} imports {target}"
            if owner == "model":
                assert name == "utils.masks", f"{path} imports {name}"
    assert seen == OURS


def test_importing_everything_has_no_side_effects(tmp_path):
    """No files, no seeding, no threads or flags changed, no matplotlib backend, no CUDA."""
    code = f"""
import sys, random
sys.path.insert(0, {str(ROOT)!r})
import torch, numpy
torch.manual_seed(5); random.seed(5); numpy.random.seed(5)
def state():
    return (torch.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist(),
            torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled(),
            torch.backends.cudnn.benchmark, torch.get_default_dtype())
before = state()
import importlib
for name in {sorted(module_names())!r}:
    importlib.import_module(name)
assert state() == before
assert not torch.cuda.is_initialized()
assert "matplotlib.pyplot" not in sys.modules and "nltk" not in sys.modules and "tensorflow" not in sys.modules
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []


def module_names():
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in python_files()]


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_help_is_quick_and_shows_commands(script):
    times = []
    for _ in range(2):
        begin = time.monotonic()
        result = subprocess.run(
            command(f"{script}.py", "--help"), env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        times.append(time.monotonic() - begin)
    assert result.returncode == 0, result.stderr
    assert f"python {script}.py" in result.stdout
    assert min(times) < 1.0


@pytest.mark.parametrize("script", sorted(SCRIPTS - {"demo", "pipeline", "make_sample_corpus", "benchmark"}))
def test_an_unknown_flag_or_dataset_is_one_line_and_code_2(script):
    for arguments in (["--dataset", "RAVDESS", "--nonsense"], ["--dataset", "../RAVDESS"]):
        rest = {
            "synthesize": ["--restore_step", "1", "--mode", "batch", "--source", "x"],
            "evaluate": ["--restore_step", "1"],
            "export": ["--restore_step", "1"],
        }
        result = subprocess.run(
            command(f"{script}.py", *arguments, *rest.get(script, [])),
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 2
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_pins_are_exact_and_everything_imported_is_pinned():
    pins = {}
    files = ("requirements.txt", "requirements-cluster.txt", "requirements-eval.txt")
    for line in "".join((ROOT / name).read_text() for name in files).splitlines():
        requirement = line.partition("#")[0].strip()
        if requirement:
            assert re.fullmatch(r"[\w.-]+==[\w.]+", requirement), requirement
            pins[requirement.partition("==")[0].lower().replace("-", "_")] = line
    known_as = {"yaml": "pyyaml", "pydantic_core": "pydantic", "PIL": "pillow"}
    known_as |= {"sklearn": "scikit_learn", "pyworld": "pyworld_prebuilt"}
    standard = sys.stdlib_module_names
    for path in python_files():
        for name in imports_of(ast.parse(path.read_text())):
            top = name.partition(".")[0]
            if top not in standard and top not in OURS:
                assert known_as.get(top, top).lower() in pins, f"{path} imports {top}, which is not pinned"


def test_dockerfile_names_only_what_exists():
    text = (ROOT / "Dockerfile").read_text()
    for match in re.finditer(r"^COPY (?:--\S+ )*(.+)$", text, re.MULTILINE):
        for source in match[1].split()[:-1]:
            assert (ROOT / source).exists(), source
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    used = re.findall(r"make ([a-z-]+)", text.replace("-y make", ""))
    used += re.findall(r'CMD \["make", "([a-z-]+)"\]', text)
    assert used and set(used) <= set(targets)
    assert re.search(r"^USER (?!root)", text, re.MULTILINE), "runs as root"
    python = re.search(r"^FROM python:3\.(\d+)-slim", text, re.MULTILINE)
    assert python and 10 <= int(python[1]) <= 12
    assert text.index("requirements.txt") < text.index("COPY --chown=app:app . ."), (
        "packages must be a layer of their own"
    )


def test_readme_names_only_what_exists():
    text = (ROOT / "README.md").read_text()
    for script in set(re.findall(r"(?:python|nproc_per_node \d+) (\w+\.py)", text)):
        assert (ROOT / script).exists(), script
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("http") or (ROOT / link).exists(), link
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", text)) - {"it", "both", "the", "every"} <= targets
    flags = set(re.findall(r"(?<![\w-])(--[a-z][a-z_-]*)", text))
    sources = "".join(path.read_text() for path in python_files())
    foreign = {
        "--help",
        "--nproc_per_node",
        "--nnodes",
        "--rdzv_endpoint",
        "--rdzv_backend",
        "--rdzv_id",
        "--nworkers",
        "--nthreads",
        "--logdir",
        "--gpus",
        "--rm",
        "--no-deps",
    }
    assert {flag for flag in flags - foreign if f'"{flag}"' not in sources} == set()


def test_readme_says_where_every_corpus_comes_from():
    from config import known_datasets
    from downloads.archives import RELEASES
    from preprocessor.corpus import CORPORA, get_corpus

    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    for name in set(CORPORA) - {"generic"}:
        about = get_corpus(name).about
        row = next(row for row in rows if row.startswith(f"| `{name}`") and about.home in row)
        assert about.licence.split(",")[0] in row
        assert about.direct == ("↓" in row) == (name in RELEASES)
        assert name in known_datasets()


def test_readme_config_keys_exist():
    from config import load_config

    values = load_config("RAVDESS").to_dict()
    for key in set(re.findall(r"--set ((?:preprocess|model|train)\.[\w.]+)=", (ROOT / "README.md").read_text())):
        node = values
        for part in key.split("."):
            assert part in node, key
            node = node[part]


def test_nothing_of_anyones_machine_is_in_the_repository():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".png", ".wav", ".ogg", ".safetensors") or name == "tests/test_project.py":
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/home/\w|/work/|/root/|/Users/\w", text), name


def test_citation_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert "2110.04153" in citation["preferred-citation"]["url"]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
