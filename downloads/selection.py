"""Which archives a command line asks for: the published ones, from their publisher or a mirror, or a foreign one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from downloads.archives import Archive, Release
from downloads.server import check_url
from errors import UserError

CHECKSUM = re.compile(r"(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})")


def select(
    release: Release | None, parts: Sequence[str], suggested: Sequence[str], url: str | None, checksum: str | None
) -> list[Archive]:
    """What to load.

    `release` is the corpus's (None: it has none), `parts` are asked for, `suggested` may be some of the configuration's
    values that are no parts. `url` replaces where one archive comes from; with `checksum` it is another archive, of
    which nothing else is known. Raises UserError when these do not go together or there is nothing to load.
    """
    chosen = choose(release, parts, suggested) if release is not None else []
    if url is None:
        if checksum is not None:
            raise UserError("--checksum is for the archive of --url, which is missing")
        return chosen
    check_url(url, plain_http=True)
    if len(chosen) > 1 or len(parts) > 1:
        raise UserError("--url is one archive; say with one --part which part of the corpus it is")
    if checksum is None and not chosen:
        raise UserError("--url needs --checksum md5:HEX or sha256:HEX for a corpus whose checksum is not known here")
    if checksum is None:
        return [replace(chosen[0], url=url)]
    if not CHECKSUM.fullmatch(checksum.lower()):
        raise UserError(f"--checksum {checksum}: expected md5: and 32, or sha256: and 64 hexadecimal digits")
    part = chosen[0].part if chosen else "".join(parts) or "all"
    top = chosen[0].top if chosen else ""
    return [Archive(part, _file_name(url), url, checksum.lower(), size=None, unpacked=None, top=top)]


def choose(release: Release, parts: Sequence[str], suggested: Sequence[str]) -> list[Archive]:
    """The archives of `parts`; of none: of the parts among `suggested`, else the first. In the release's order."""
    known = [archive.part for archive in release.archives]
    for part in parts:
        if part not in known:
            raise UserError(f"--part {part}: there is no such part; known: {', '.join(known)}")
    wanted = parts or [part for part in suggested if part in known] or known[:1]
    return [archive for archive in release.archives if archive.part in wanted]


def _file_name(url: str) -> str:
    """The URL's last part, as far as it is harmless as a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]", "", urlsplit(url).path.rpartition("/")[2]).lstrip(".") or "archive"
