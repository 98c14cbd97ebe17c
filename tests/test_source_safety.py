"""No code of the project reads a file in a way that could run what is in it. Held by reading the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from config import loading
from tests.paths import ROOT
from tests.test_project import python_files

# name of a call's function -> the keyword that must be there, and its value
WANTED = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load_all", "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.unsafe_load_all", "yaml.full_load_all", "torch.hub.load", "torch.jit.load", "shutil.unpack_archive",
    "torch.package",
    "np.fromregex", "builtins.eval", "builtins.exec", "soundfile.blocks",
}  # fmt: skip
METHODS = {"extractall", "extract"}  # of archives: downloads/unpack.py looks at each member itself
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "runpy",
    "code",
}
# who may, and why: it sends to its own workers what it has pickled itself, and reads no file
MAY_PICKLE = {"preprocessor/cluster.py"}
MAY_RUN = {"benchmarks/calibration.py"}  # a script of the project's own, by its name
# modules by names that are written down in the same file
MAY_IMPORT_BY_NAME = {
    "preprocessor/corpus.py",
    "text/languages.py",
    "benchmarks/jobs.py",
    "evaluation/outside_judges.py",
}


def dotted(node: ast.expr) -> str:
    """ "np.load" of the expression np.load."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id if isinstance(node, ast.Name) else "…", *reversed(parts)])


def problems(source: str, name: str) -> Iterator[str]:
    """What the source has that it should not."""
    aliases: dict[str, str] = {}
    nodes = list(ast.walk(ast.parse(source)))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in MODULES and name not in MAY_PICKLE | MAY_RUN:
                    yield f"import {alias.name}"
                aliases[alias.asname or alias.name] = {"numpy": "np"}.get(alias.name, alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.partition(".")[0] in MODULES:
                yield f"from {node.module}"
            module = {"numpy": "np"}.get(node.module, node.module)
            aliases |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.Call):
            yield from _call(node, aliases, name)


def _call(node: ast.Call, aliases: dict[str, str], name: str) -> Iterator[str]:
    called = dotted(node.func)
    first, dot, rest = called.partition(".")
    called = aliases.get(first, first) + dot + rest
    values = {word.arg: word.value.value if isinstance(word.value, ast.Constant) else ... for word in node.keywords}
    if called in WANTED and values.get(WANTED[called][0]) is not WANTED[called][1]:
        yield f"{called} without {WANTED[called][0]}={WANTED[called][1]}"
    if called in FORBIDDEN or called.rpartition(".")[2] in METHODS:
        yield called
    if called == "yaml.load" and not (name == "config/loading.py" and dotted(node.keywords[0].value) == "_Loader"):
        yield called
    if called.endswith("import_module") and name not in MAY_IMPORT_BY_NAME:
        yield called
    if values.get("shell") not in (None, False):
        yield f"{called} with a shell"


def test_nothing_in_the_project_reads_files_that_could_run():
    files = python_files()
    assert len(files) > 200
    found = {}
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        wrong = list(problems(path.read_text(encoding="utf-8"), name))
        if wrong:
            found[name] = wrong
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(p)", "import torch\ntorch.load(p, weights_only=False)",
        "import torch as t\nt.load(p)",
        "from torch import load\nload(p)", "import torch\ntorch.load(p, weights_only=safe)",
        "import numpy as np\nnp.load(p)",
        "import numpy\nnumpy.load(p, allow_pickle=True)", "from numpy import load as read\nread(p)", "import pickle",
        "from joblib import load", "import yaml\nyaml.load(t, Loader=yaml.Loader)", "import yaml\nyaml.unsafe_load(t)",
        "from yaml import full_load\nfull_load(t)", "eval(t)", "exec(t)", "import os\nos.system(t)", "__import__(t)",
        "import subprocess\nsubprocess.run(t, shell=True)", "with tarfile.open(p) as a:\n    a.extractall(d)",
        "import zipfile\nzipfile.ZipFile(p).extract(m)", "import importlib\nimportlib.import_module(t)",
        "import torch\ntorch.hub.load(t)", "def f():\n    import marshal",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_should(source):
    assert list(problems(source, "some/file.py"))


def test_the_search_leaves_the_safe_alone():
    source = "import torch, numpy as np\ntorch.load(p, weights_only=True)\nnp.load(p, allow_pickle=False)\nmodel.eval()"
    assert not list(problems(source, "some/file.py"))


def test_the_yaml_loader_is_the_safe_one():
    assert issubclass(loading._Loader, yaml.SafeLoader)
    assert all(
        tag is None or not tag.startswith("tag:yaml.org,2002:python") for tag in loading._Loader.yaml_constructors
    )
    assert set(loading._Loader.yaml_multi_constructors) <= set(yaml.SafeLoader.yaml_multi_constructors)


def test_scripts_of_shells_unpack_nothing():
    for path in (ROOT / "Makefile", ROOT / "Dockerfile", *Path(ROOT / ".ci").glob("*")):
        text = path.read_text(encoding="utf-8")
        assert "curl" not in text and "wget" not in text, path
