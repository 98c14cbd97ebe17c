"""Collects the largest error of every golden file that a run compared, and prints the table at the end."""

import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

# Begun in the background by a shell, this process ignores Ctrl-C, and so would every script that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # slow tests are left out by then
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of few tests first: those are the long ones, and of several processes none is to begin one when the others
    are done (pytest-xdist keeps this order with --no-loadscope-reorder)."""
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (sizes[item.path], item.path))


PARITY: dict[tuple[str, str], float] = {}


@pytest.fixture
def parity() -> Callable[[str, str, float], None]:
    """parity(file, quantity, error): keep the largest error for the closing table."""

    def note(file: str, quantity: str, error: float) -> None:
        PARITY[file, quantity] = max(error, PARITY.get((file, quantity), 0.0))

    return note


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Of several processes (pytest-xdist) each hands its errors to the one that prints."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["parity"] = [(*key, error) for key, error in PARITY.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Called where pytest-xdist's processes report back."""
    for file, quantity, error in getattr(node, "workeroutput", {}).get("parity", ()):
        PARITY[file, quantity] = max(error, PARITY.get((file, quantity), 0.0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the golden tests measured."""
    if PARITY:
        terminalreporter.section("golden parity: file, quantity, largest error")
        for (file, quantity), error in sorted(PARITY.items()):
            terminalreporter.write_line(f"{file:44} {quantity:26} {error:.1e}")
