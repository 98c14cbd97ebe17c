"""The HDF5 library at work on a file that may be damaged: a program of its own, which may crash or never end.

Started by deepspeaker/keras_weights.py as `python keras_reader.py FILE CPU_SECONDS BYTES`, with a file for its standard
output, to which it writes one .npy after the other: the names of the weights, and each of these. It imports nothing of
this project, so that it starts fast.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST_NUMBERS = 1 << 25  # of all weights together; the published network has 24 million
REFUSED, NO_PACKAGE, NO_ROOM = 3, 4, 5  # exit codes; the reason is on standard error


def read(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """ "layer/weight", without ":0" -> array. Layers without weights are left out. A damaged file may raise anything,
    never return, or end the process."""
    import h5py

    arrays: dict[str, npt.NDArray[np.float32]] = {}
    room = MOST_NUMBERS
    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        for layer in map(_text, root.attrs["layer_names"]):
            for weight in map(_text, root[layer].attrs["weight_names"]):
                array = _array(root[layer][weight], room)
                room -= array.size
                arrays[f"{layer}/{weight.split('/')[-1].split(':')[0]}"] = array
    return arrays


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _array(dataset: Any, room: int) -> npt.NDArray[np.float32]:
    """A few bytes can announce numbers that would fill any memory; they are zeros until somebody writes them."""
    import numpy as np

    if dataset.size > room:
        raise ValueError(f"{dataset.name} announces {dataset.size:,} numbers")
    return np.asarray(dataset[()], dtype=np.float32)


def _bound(cpu_seconds: int, size: int) -> None:
    """Where the system has such limits. The one for memory counts addresses, libraries included."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected, nobody wants its memory on disk
    for kind, limit in ((resource.RLIMIT_CPU, cpu_seconds), (resource.RLIMIT_AS, size)):
        hard = resource.getrlimit(kind)[1]
        own = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (own, hard))


def main(path: str, cpu_seconds: str, size: str) -> int:
    """Read, write; returns the exit code."""
    try:
        import h5py  # noqa: F401 - before the limits: libraries may take what they need
        import numpy as np
    except ImportError as error:
        print(error.name or "h5py", file=sys.stderr)
        return NO_PACKAGE
    _bound(int(cpu_seconds), int(size))
    try:
        arrays = read(Path(path))
        names = np.array(list(arrays), dtype=np.str_)
    except Exception as error:  # a foreign file may fail anywhere in the library
        return _failed(error, REFUSED)
    try:
        for array in (names, *arrays.values()):
            np.save(sys.stdout.buffer, array, allow_pickle=False)
        sys.stdout.buffer.flush()
    except OSError as error:
        return _failed(error, NO_ROOM)
    return 0


def _failed(error: Exception, code: int) -> int:
    print(" ".join(f"{error or type(error).__name__}".split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
