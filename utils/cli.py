"""What every script shares: the parser, the common flags, and how errors reach the user."""

from __future__ import annotations

import _thread
import argparse
import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from errors import UserError

OLDEST_PYTHON = (3, 10)  # that the pins install on
# What a disk or an administrator refuses is no bug, wherever it is met; most places say more than `run` can
ENVIRONMENT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE}
LEAVE_SECONDS = 15  # from SIGTERM on, in which a script has to end in order; MFA takes up to 10 of them
SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Terminated(KeyboardInterrupt):
    """SIGTERM, which a script obeys as it does Ctrl-C."""


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line and exit with code 2; the description is the script's docstring."""

    def __init__(self, description: str | None) -> None:
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def add_config_flags(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """`--dataset NAME`, required unless there is a default, and the repeatable `--set file.section.key=value`."""
    about = f"a folder of config/ ({'for example RAVDESS' if default is None else f'default {default}'})"
    parser.add_argument("--dataset", required=default is None, default=default, metavar="NAME", help=about)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="FILE.SECTION.KEY=VALUE",
        help="change one configuration value, for example --set train.optimizer.batch_size=16 (repeatable)",
    )


def add_checkpoint_flag(parser: argparse.ArgumentParser) -> None:
    """`--restore_step STEP`, which checkpoint to take; required."""
    parser.add_argument(
        "--restore_step", required=True, type=restore_step, metavar="STEP", help='checkpoint, or "latest"'
    )


def add_device_flag(parser: argparse.ArgumentParser) -> None:
    """`--device` of a script that uses one."""
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:N")


def add_training_flags(parser: argparse.ArgumentParser, amp_key: str) -> None:
    """Precision, start and devices of a run; `amp_key` is the configuration value that chooses the half precision."""
    parser.add_argument("--use_amp", action="store_true", help=f"automatic mixed precision ({amp_key})")
    parser.add_argument(
        "--restore_step", type=restore_step, metavar="STEP", help='go on from this checkpoint, or "latest"'
    )
    parser.add_argument(
        "--from_scratch",
        action="store_true",
        help="start anew although checkpoints exist; the old checkpoints and logs are moved aside, not deleted",
    )
    parser.add_argument(
        "--device", default="auto", help="auto (every visible GPU, else CPU), cpu, cuda, cuda:N, or cpu:N (N processes)"
    )


def check_training_flags(args: argparse.Namespace) -> None:
    """Raise UserError where `add_training_flags`' flags exclude each other; keep torch from logging lost processes."""
    if args.restore_step is not None and args.from_scratch:
        raise UserError("--restore_step and --from_scratch exclude each other")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # when a process is lost, we tell it in one line


def add_cluster_flag(parser: argparse.ArgumentParser) -> None:
    """`--cluster ADDRESS`."""
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="have a Dask cluster do the work instead, for example tcp://host:8786"
    )


def positive_int(text: str) -> int:
    """argparse type: a whole number above zero."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def restore_step(text: str) -> int | str:
    """argparse type: a step number, "latest", or "pretrained", the weights that ship."""
    if text in ("latest", "pretrained"):
        return text
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f'{text!r} is neither a step number nor "latest" nor "pretrained"')
    return int(text)


def progress_interval() -> float:
    """Seconds between two updates of a progress bar: often on a terminal, seldom where each one becomes a log line."""
    return 0.1 if sys.stderr.isatty() else 30.0


def available_cpus() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_first_process() -> bool:
    """Whether torchrun gave this process rank 0, or did not start it at all."""
    return os.environ.get("RANK", "0") == "0"


def end_soon(seconds: float, code: int) -> None:
    """End this process after that time, wherever it may hang then. For signal handlers: threading's locks may be held
    by what they have interrupted."""

    def end() -> None:
        time.sleep(seconds)
        os._exit(code)

    _thread.start_new_thread(end, ())


class _Asked:
    """Ctrl-C and SIGTERM as exceptions within a block. A second SIGTERM, or LEAVE_SECONDS after the first, end the
    process at once, and so does one that comes after the block."""

    def __init__(self, knows_sigterm: bool) -> None:
        self.number = 0  # of the first signal; 0 = none
        self._knows_sigterm = knows_sigterm

    def __enter__(self) -> _Asked:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._receive)
        if not self._knows_sigterm and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._knows_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _receive(self, number: int, _: object) -> None:
        self.number = self.number or number
        if number == signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
            end_soon(LEAVE_SECONDS, 128 + number)
            raise Terminated
        raise KeyboardInterrupt

    def leave(self) -> NoReturn:
        number = signal.Signals(self.number or signal.SIGINT)
        print(SAID[number], file=sys.stderr)
        sys.exit(128 + number)


def run(
    main: Callable[[Sequence[str] | None], int | None],
    argv: Sequence[str] | None = None,
    knows_sigterm: bool = False,
) -> NoReturn:
    """Call a script's main and exit: 0 (or what main returns), 2 after a UserError or where packages are missing or not
    those that are pinned, 130 after Ctrl-C, 143 after SIGTERM, which comes out of main as Ctrl-C does. A main that
    `knows_sigterm` is left alone with it.

    numpy's matrix products get one thread, in workers, too, unless the environment says otherwise: ours are small, and
    threads that wake up for them and fight over the cores make them up to twenty times as slow. It must not have been
    imported yet."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with _Asked(knows_sigterm) as asked:
        _run(main, argv, asked)


def _run(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None, asked: _Asked) -> NoReturn:
    try:
        if sys.version_info < OLDEST_PYTHON:
            from utils.packages import too_old

            raise UserError(too_old())
        code = main(argv) or 0
        sys.stdout.flush()  # what cannot be written is told here, not by the interpreter when it ends
        sys.exit(code)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (ImportError, AttributeError, RecursionError, SystemError) as error:
        if asked.number:  # while a library was being imported, which made another error of it
            asked.leave()
        from utils.packages import explain

        reason = explain(error)
        if reason is None:
            raise
        print(f"error: {reason}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        asked.leave()
    except BrokenPipeError:  # `| head` closed our output: nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.errno not in ENVIRONMENT:
            raise
        print(
            f"error: {error.filename or 'cannot write'}: {error.strerror}; free space or permissions?", file=sys.stderr
        )
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
    except Exception:
        if asked.number:  # as above: torch's own modules make a TypeError of it
            asked.leave()
        raise
