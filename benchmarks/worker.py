"""One job in a process of its own: `python -m benchmarks.worker JOB SETTINGS FINDINGS`. Started by benchmarks.jobs."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from benchmarks.bench import Bench, Settings, SkipError
from benchmarks.jobs import JOBS
from benchmarks.timing import ScriptError
from errors import UserError

SKIPPED = 3  # exit code


def main() -> int:
    """Run the job; its exit code and last line say how it ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # measured processes end, too
    name, settings, findings = sys.argv[1], Settings.from_json(sys.argv[2]), Path(sys.argv[3])
    try:
        JOBS[name].load()(Bench(name, settings, findings))
    except SkipError as reason:
        print(reason, file=sys.stderr)
        return SKIPPED
    except (UserError, ScriptError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
