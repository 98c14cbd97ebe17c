"""Where optional test data lies, and the skips for machines that lack it."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GOLDEN_DIR = Path(os.environ.get("GOLDEN_DIR", ROOT.parent / "shared" / "golden"))
DATA_DIR = Path(os.environ.get("RAVDESS_DATA_DIR", ROOT.parent / "shared" / "data"))

needs_golden = pytest.mark.skipif(not GOLDEN_DIR.is_dir(), reason=f"no golden numbers in {GOLDEN_DIR} (GOLDEN_DIR)")
needs_data = pytest.mark.skipif(not DATA_DIR.is_dir(), reason=f"no recordings in {DATA_DIR} (RAVDESS_DATA_DIR)")


def golden(name: str) -> Path:
    """Path of one golden file; skips the calling test where the folder or the file is missing."""
    path = GOLDEN_DIR / name
    if not path.is_file():
        pytest.skip(f"no golden file {path} (set GOLDEN_DIR)")
    return path


def real_data(name: str) -> Path:
    """Path of one file or folder of the real data; skips the calling test where it is missing."""
    path = DATA_DIR / name
    if not path.exists():
        pytest.skip(f"no real data at {path} (set RAVDESS_DATA_DIR)")
    return path
