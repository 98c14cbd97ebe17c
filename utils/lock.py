"""One process at a time in a folder: who else wants to write there is told who is at work.

    with sole_user(folder, "--set train.path.ckpt_path=FOLDER chooses another"):
        ...

The lock is the kernel's (flock) on the file `.<folder's name>.lock` beside the folder, or on `.lock` inside where the
parent cannot be written. It ends with the process that holds it, however that ends: what a killed one leaves behind is
a file that nobody holds, which the next one takes over, whatever process id stands in it and whoever bears that id by
now. The file only tells others who holds it: process id, machine, command, since when.

Network file systems: NFS since version 4, and Lustre and CephFS as usually mounted, pass flock to all machines. NFS
mounted with `nolock` or `local_lock=flock`, and some file systems in user space, keep it to one machine, or know none
at all; then nothing holds a process on another machine back. Where there is no lock at all, one line says so.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from errors import UserError

PATIENCE = 0.5  # seconds that a holder has to write who it is
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}

_held: set[int] = set()  # descriptors. A forked child closes them: it must not hold its parent's lock after its death
_watching_forks = False


@contextmanager
def sole_user(folder: Path, otherwise: str = "") -> Iterator[None]:
    """Hold `folder`, which need not exist, against every other process that asks for it here.

    Raises UserError naming the process that holds it, with what to do: `otherwise` is an alternative to waiting.
    """
    place = lock_path(folder)
    made = [parent for parent in reversed(place.parents) if not parent.exists()]
    descriptor = None
    try:
        descriptor = _acquire(place, folder, otherwise)
        yield
    finally:
        if descriptor in _held:  # not in a child of ours
            _release(descriptor, place)
        for parent in reversed(made):
            with suppress(OSError):  # in use by now
                parent.rmdir()


def refuse_if_used(folder: Path, otherwise: str = "") -> None:
    """Raise UserError as `sole_user` if a process holds `folder`; hold and make nothing."""
    with suppress(ImportError, FileNotFoundError):
        import fcntl

        descriptor = os.open(lock_path(folder), os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _refusal(folder, _holder(descriptor), otherwise) from error
        except OSError:
            pass  # no locks here; who wants to hold one is told
        finally:
            os.close(descriptor)


def lock_path(folder: Path) -> Path:
    """The file that stands for `folder`, the same by whatever links it is reached."""
    folder = folder.resolve()
    inside = folder.is_dir() and not os.access(folder.parent, os.W_OK)
    return folder / ".lock" if inside or not folder.name else folder.parent / f".{folder.name}.lock"


def _acquire(place: Path, folder: Path, otherwise: str) -> int | None:
    """Descriptor of the locked file; None where there are no locks. Raises UserError when somebody else has it."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return None
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and time.monotonic() < deadline:
                continue  # another process made the folder and took it away again
            raise UserError(f"cannot write {place}: {error.strerror or error}; permissions?") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(place, descriptor):
                _sign(descriptor)
                return descriptor
            os.close(descriptor)  # its holder removed the file after we had opened it: there may be a new one
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            if holder is None and time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            raise _refusal(folder, holder, otherwise) from error
        except OSError as error:
            os.close(descriptor)
            if error.errno not in UNSUPPORTED:
                raise UserError(f"cannot lock {place}: {error.strerror or error}") from error
            print(f"note: no locks on the file system of {folder}: let nobody else work there", file=sys.stderr)
            return None


def _release(descriptor: int, place: Path) -> None:
    """Remove the file while it is still ours, so that nobody takes away a successor's; then let go."""
    _held.discard(descriptor)
    if _is_still(place, descriptor):
        with suppress(OSError):
            place.unlink()
    os.close(descriptor)


def _is_still(place: Path, descriptor: int) -> bool:
    with suppress(OSError):
        return os.path.samestat(place.stat(), os.fstat(descriptor))
    return False


def _sign(descriptor: int) -> None:
    """Write down who holds it."""
    global _watching_forks
    if not _watching_forks:
        os.register_at_fork(after_in_child=_let_go)
        _watching_forks = True
    _held.add(descriptor)
    who = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:300],
    }
    with suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(who).encode(), 0)


def _let_go() -> None:
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


def _refusal(folder: Path, holder: str | None, otherwise: str) -> UserError:
    who = holder or "another process; wait until it has ended"
    return UserError(f"{folder} is in use by {who}{f'; or {otherwise}' if otherwise else ''}")


def _holder(descriptor: int) -> str | None:
    """Who holds the file, in words; None where that is not written there yet."""
    try:
        who = json.loads(os.pread(descriptor, 4096, 0))
        pid, host, since, command = int(who["pid"]), who["host"], who["since"], who["command"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if host != socket.gethostname():
        return f"process {pid} on {host} ({command}, since {since}); wait until it has ended"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None  # a former holder that was killed; the present one has not signed yet
    except OSError:
        pass  # another user's
    return f"process {pid} ({command}, since {since}); wait until it has ended, or end it: kill {pid}"
