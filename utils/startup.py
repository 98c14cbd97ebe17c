"""Starting fast: what a script that answers one question may do while its libraries load."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def quick_start() -> Iterator[None]:
    """For the part of a script that imports and loads, where torch has not been imported yet.

    - torch's library of 400 MB is mapped and linked by another thread, while this one reads the configuration.
    - No garbage is collected: imports make a million objects, nearly all of them to stay. What is there at the end is
      left alone by later collections, too.
    - OpenMP's threads sleep while they wait instead of spinning, unless the environment says otherwise: in short bursts
      of work on a machine with other things to do, spinning costs several times what the work does.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    preloading = threading.Thread(target=_preload_torch, daemon=True)
    preloading.start()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        preloading.join()  # the process must not end while a library initialises itself
        gc.freeze()
        if was_enabled:
            gc.enable()


def _preload_torch() -> None:
    """Map libtorch_cpu without the interpreter's lock; `import torch`, which holds it, then finds it there."""
    with suppress(OSError, ValueError, AttributeError):  # another platform's or build's layout: torch loads it itself
        spec = None if "torch" in sys.modules else find_spec("torch")
        if spec is not None and spec.origin is not None:
            for library in (Path(spec.origin).parent / "lib").glob("libtorch_cpu.*"):
                ctypes.CDLL(str(library))
