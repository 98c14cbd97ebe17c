"""What a check found, and how a check that fails becomes a finding instead of a traceback. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from errors import UserError
from utils.packages import explain

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: str  # OK; NOTE: worth knowing, in nobody's way; PROBLEM: something will not work
    what: str
    text: str
    remedy: str = ""  # the command, or the step, that mends it

    def __str__(self) -> str:
        return f"{self.level:<8} {self.what}: {self.text}" + (f"; {self.remedy}" if self.remedy else "")


Check = Callable[[], Iterator[Finding]]


def guarded(what: str, check: Check, remedy: str = "") -> Iterator[Finding]:
    """The findings of `check`. Where it raises what a user can mend, or meets a broken package, that is a problem;
    `remedy` goes with messages that say what is wrong and not what to do."""
    try:
        yield from check()
    except UserError as error:
        yield Finding(PROBLEM, what, str(error), remedy)
    except (ImportError, AttributeError) as error:
        reason = explain(error)
        if reason is None:
            raise
        yield Finding(PROBLEM, what, reason)
    except OSError as error:
        yield Finding(PROBLEM, what, f"{error.filename or ''}: {error.strerror or error}", "permissions, disk?")
