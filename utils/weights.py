"""Reading weights: foreign files, in which nothing may run and everything may be wrong."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from errors import UserError

LARGEST_MEMBER = 2**30  # bytes that a .zip may unpack to; the largest published generator has 56 MB
SAFETENSORS = ".safetensors"
SUMS = "SHA256SUMS"  # lines of sha256sum beside weights; what it lists must agree with it


def read_state(path: Path, key: str) -> dict[str, Tensor]:
    """A module's weights from a checkpoint {key: state}, a bare state or a .safetensors, on the CPU in float32.

    The checkpoint may be the only file of a .zip; it is read from there in memory. Raises UserError naming `path` when
    the file is missing, truncated, holds anything but tensors (nothing in it is run), or a weight is not finite.
    """
    content = read_safetensors(path) if path.suffix == SAFETENSORS else load_content(path)
    if isinstance(content, dict) and isinstance(content.get(key), dict):
        content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(each, Tensor) for each in content.values()):
        raise UserError(f"{path} holds no {key}'s weights; is it a training state, or another model's file?")
    refuse_odd(content, path)
    state = {name: weight.float() for name, weight in content.items()}
    broken = next((name for name, weight in state.items() if not weight.isfinite().all()), None)
    if broken is not None:
        raise UserError(f"{path}: {broken} holds NaN or infinity; fetch the file again")
    return state


def refuse_odd(state: Mapping[Any, Any], path: Path) -> None:
    """Raise UserError naming `path` unless `state` is named tensors as weights are: dense, real, on the CPU, and with
    memory of their own for each number (a small file can describe a tensor that would fill any memory)."""
    for name, weight in state.items():
        usual = isinstance(name, str) and isinstance(weight, Tensor) and weight.layout is torch.strided
        usual = usual and weight.device.type == "cpu" and not weight.is_quantized and not weight.is_complex()
        if not usual or weight.numel() * weight.element_size() > weight.untyped_storage().nbytes():
            raise UserError(f"{path}: {str(name)[:80]!r} is no weight of a model; fetch the file again")


def read_safetensors(path: Path, remedy: str = "fetch it again") -> dict[str, Tensor]:
    """All tensors of a .safetensors file, on the CPU as they were stored; no pickle is involved.

    Raises UserError naming `path`, and what to do about it, when the file is missing, truncated, something else, or
    unlike what a SHA256SUMS beside it says of it.
    """
    from safetensors.torch import load

    data = read_checked(path, remedy)
    try:
        return load(data)
    except Exception as error:  # a foreign file may fail anywhere in the parser
        raise UserError(f"{path} is truncated, or no safetensors file ({type(error).__name__}); {remedy}") from error


def read_checked(path: Path, remedy: str = "fetch it again") -> bytes:
    """A file's content, compared with what a SHA256SUMS beside it says, if it names it; raises UserError as above."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; {remedy}") from error
    wanted = _known_sums(path.parent).get(path.name)
    if wanted is not None and hashlib.sha256(data).hexdigest() != wanted:
        raise UserError(f"{path} is damaged or was changed: its SHA-256 is not the one in {SUMS}; {remedy}")
    return data


def _known_sums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 in hexadecimal, as sha256sum writes them; {} where there is no such list."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {folder / SUMS}: {error}; fetch it again, or take it away") from error
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def load_content(path: Path, remedy: str = "fetch it again") -> Any:
    """What a checkpoint holds, on the CPU; possibly the only file of a .zip.

    `weights_only=True`: a pickle with anything but tensors and plain data is refused, not run. Raises UserError naming
    `path`, and what to do about it, when the file is missing, truncated or something else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a foreign pickle's protocol is no concern of the user's
            return torch.load(_unzipped(path), map_location="cpu", weights_only=True)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a foreign file may fail anywhere in the unpickler
        raise UserError(
            f"{path} is truncated, or not a checkpoint of tensors alone ({type(error).__name__}); {remedy}"
        ) from error


def _unzipped(path: Path) -> Path | io.BytesIO:
    """The checkpoint itself, or the only file inside a .zip around it. (PyTorch's own format is a zip, too.)"""
    if not zipfile.is_zipfile(path):
        return path
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if any(member.filename.endswith("/data.pkl") for member in members):
            return path
        members = [member for member in members if not member.filename.startswith("__MACOSX/")]
        if len(members) != 1:
            raise UserError(f"{path} must hold one checkpoint, but holds {len(members)} files")
        if members[0].file_size > LARGEST_MEMBER:
            raise UserError(f"{path} unpacks to {members[0].file_size} bytes; no published generator is that large")
        return io.BytesIO(archive.read(members[0]))


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace each pair weight_g, weight_v by weight = g * v / |v|, one norm per index of dimension 0.

    Salimans & Kingma 2016, equation 2. Weights without such a pair are kept.
    """
    folded: dict[str, Tensor] = {}
    for name, value in state.items():
        scale = state.get(f"{name[:-1]}g") if name.endswith(".weight_v") else None
        if scale is not None and value.dim() > 1 and scale.numel() == len(value):
            norm = value.flatten(1).norm(dim=1)
            factor = (scale.flatten() / norm).reshape(-1, *[1] * (value.dim() - 1))
            folded[name.removesuffix("_v")] = value * factor
        elif not (name.endswith(".weight_g") and f"{name[:-1]}v" in state):
            folded[name] = value
    return folded


def misfits(skeleton: nn.Module, state: Mapping[str, Tensor]) -> str:
    """What keeps `state` from being exactly `skeleton`'s weights, in words; empty where it fits."""
    wanted = skeleton.state_dict()
    shared = wanted.keys() & state.keys()
    groups = {
        "missing": wanted.keys() - state.keys(),
        "unexpected": state.keys() - wanted.keys(),
        "of another shape": {name for name in shared if wanted[name].shape != state[name].shape},
    }
    return "; ".join(f"{len(names)} {what} ({', '.join(sorted(names)[:3])})" for what, names in groups.items() if names)


def fill(skeleton: nn.Module, state: Mapping[str, Tensor], path: Path, device: torch.device) -> nn.Module:
    """`skeleton` (a module made on the meta device) with the weights `state`, frozen, in evaluation mode, on `device`.

    Raises UserError naming `path` and the weights that are missing, unexpected or of another shape.
    """
    reasons = misfits(skeleton, state)
    if reasons:
        raise UserError(f"{path} does not hold the weights of a {type(skeleton).__module__}: {reasons}")
    skeleton.load_state_dict(state, strict=True, assign=True)
    return skeleton.requires_grad_(False).eval().to(device)
