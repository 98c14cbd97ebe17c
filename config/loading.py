"""From YAML files and `--set file.section.key=value` overrides to a `Config`.

A YAML file may begin with `inherit: OTHER_DATASET`; it then holds only what differs from that dataset's file. Where
preprocess.yaml does, model.yaml and train.yaml may be missing; vocoder.yaml may always be. `{dataset}` in a path stands
for the dataset's name.
Unknown keys, wrong types and impossible combinations are `UserError`s that name the file and the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from config.schema import Config
from config.vocoder import VocoderPaths
from errors import UserError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CONFIG_ROOT = Path(__file__).resolve().parent
FILES = ("preprocess", "model", "train", "vocoder")
MOST_VALUES = 100_000  # of a file; ours have some hundred
OPTIONAL = ("vocoder",)  # may be missing where no other dataset is inherited from, too: every key has a default


def known_datasets(root: Path = CONFIG_ROOT) -> list[str]:
    """Names of the folders under `config/` that hold a configuration."""
    return sorted(path.parent.name for path in root.glob("*/preprocess.yaml"))


def load_config(dataset: str, overrides: Sequence[str] = (), root: Path = CONFIG_ROOT) -> Config:
    """Read `config/<dataset>/*.yaml` and apply `file.section.key=value` overrides in order.

    Raises UserError for an unknown dataset, unreadable YAML, an unknown key, a wrong type or a value out of range.
    """
    if dataset not in known_datasets(root):
        known = ", ".join(known_datasets(root))
        raise UserError(f"unknown dataset {dataset!r}: config/{dataset}/preprocess.yaml does not exist; known: {known}")
    values: dict[str, Any] = {"dataset": dataset}
    for name in FILES:
        values[name] = _read_file(root, dataset, name, ())
    values["preprocess"]["dataset"] = dataset  # not a parent's
    _fill_paths(values["vocoder"])
    for override in overrides:
        _apply_override(values, override)
    for name in FILES:
        paths = values[name].get("path")
        if isinstance(paths, dict):
            values[name]["path"] = {
                key: path.replace("{dataset}", dataset) if isinstance(path, str) else path
                for key, path in paths.items()
            }
    return _validate(values, f"config/{dataset}")


def from_dict(values: dict[str, Any], source: str) -> Config:
    """Rebuild a Config from `to_dict`'s result. Raises UserError naming `source` and the key that is wrong."""
    return _validate(values, source)


def _fill_paths(vocoder: dict[str, Any]) -> None:
    """Give vocoder.path its defaults now, since `{dataset}` in them is yet to be replaced."""
    given = vocoder.get("path", {})
    if isinstance(given, dict):
        vocoder["path"] = {**VocoderPaths().model_dump(), **given}


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-9 as a number (YAML 1.1 wants 1.0e-9) and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is no key", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _parse_yaml(text: str, source: str) -> Any:
    try:
        value = yaml.load(text, Loader=_Loader)
        _refuse_expanding(value, [MOST_VALUES])
        return value
    except Exception as error:  # besides YAMLError, what its constructors raise: ValueError of a 13th month …
        raise UserError(f"{source} is not valid YAML: {str(error)[:400] or type(error).__name__}") from error


def _refuse_expanding(value: Any, room: list[int]) -> None:
    """ValueError for aliases of aliases, which a few lines can make larger than any memory, or circular."""
    room[0] -= 1 + (len(value) // 1000 if isinstance(value, str) else 0)
    if room[0] < 0:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()
    for each in inner:
        _refuse_expanding(each, room)


def _read_file(root: Path, dataset: str, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    path = root / dataset / f"{name}.yaml"
    shown = f"config/{dataset}/{name}.yaml"
    if dataset in seen:
        raise UserError(f"{shown}: `inherit` goes in a circle: {' -> '.join([*seen, dataset])}")
    try:
        text = _inherited(root, dataset, name) if not path.exists() else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {shown}: {error}") from error
    values = _parse_yaml(text, shown)
    if not isinstance(values, dict):
        raise UserError(f"{shown} must hold a mapping of keys to values")
    if name == "preprocess" and values.get("dataset", dataset) != dataset:
        raise UserError(f"{shown}: dataset is {values['dataset']!r}, but its folder is {dataset}; leave the line out")
    parent = values.pop("inherit", None)
    if parent is None:
        return values
    if not isinstance(parent, str) or parent not in {path.parent.name for path in root.glob("*/*.yaml")}:
        raise UserError(f"{shown}: `inherit` names {parent!r}, but config/{parent}/{name}.yaml does not exist")
    return _merge(_read_file(root, parent, name, (*seen, dataset)), values)


def _inherited(root: Path, dataset: str, name: str) -> str:
    """What a missing file would say: the line of preprocess.yaml that names the parent."""
    lines = (root / dataset / "preprocess.yaml").read_text(encoding="utf-8").splitlines()
    parent = next((line for line in lines if line.startswith("inherit:")), None)
    if parent is None and name in OPTIONAL:
        return "{}"
    if parent is None:
        raise FileNotFoundError(f"it does not exist, and config/{dataset}/preprocess.yaml inherits from no other")
    return parent


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or len(parts) < 2 or parts[0] not in FILES:
        raise UserError(
            f"--set {override}: expected file.section.key=value with file one of {', '.join(FILES)}, "
            "for example --set train.optimizer.batch_size=16"
        )
    node = values
    for part in parts[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise UserError(f"--set {override}: {part} is a value, not a section")
    node[parts[-1]] = _parse_yaml(text, f"--set {override}")


def _validate(values: dict[str, Any], source: str) -> Config:
    try:  # by way of JSON, whose strict mode takes a list where a tuple is wanted, but still no "16" for 16
        _refuse_expanding(values, [MOST_VALUES])
        return Config.model_validate_json(json.dumps(values))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{_location(first['loc'], source)}: {_reason(first)}") from error
    except (TypeError, ValueError, RecursionError) as error:  # a YAML date, say, or a number of 5,000 digits
        raise UserError(f"{source}: {error}") from error


def _location(parts: tuple[int | str, ...], source: str) -> str:
    """('train', 'optimizer', 'eps') -> 'config/RAVDESS/train.yaml: optimizer.eps'."""
    if parts and parts[0] in FILES and source.startswith("config/"):
        source, parts = f"{source}/{parts[0]}.yaml", parts[1:]
    return f"{source}: {'.'.join(str(part) for part in parts)}" if parts else source


def _reason(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "this key is required"
    message = error["msg"].removeprefix("Value error, ")
    return message if error["type"] == "value_error" else f"{message}, got {error['input']!r}"
