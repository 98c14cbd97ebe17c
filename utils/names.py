"""Which names of speakers and utterances may become names of files.

They come from lists, folders and checkpoints that strangers may have written, and lead to files in every stage
("Actor_05-mel-angry-strong-01-02-Actor_05.npy"). One rule for all of them: such a name can't lead out of its folder, on
no operating system, and fits into one line of a list.
"""

from __future__ import annotations

import unicodedata

LONGEST = 230  # bytes of speaker and name together: file systems allow 255, and ours join them by "-duration-"
RESERVED = frozenset(  # what Windows takes for a device, whatever the suffix
    ("con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)))
)
FORBIDDEN = "/\\:|"  # folders, drives and streams; the bar separates the fields of our lists


def problem_of(name: str) -> str | None:
    """Why a file should not be called so, to be read after "…: "; None where nothing speaks against it."""
    if not name:
        return "it is empty"
    if name[0] == "." or name[-1] in ". " or name != name.strip():
        return "it begins with a dot, or begins or ends with a space, or ends with a dot"
    for character in name:
        if character in FORBIDDEN or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            return f"it holds {character!r}"
    if name.partition(".")[0].rstrip().casefold() in RESERVED:
        return "Windows has a device of that name"
    size = len(name.encode())
    return f"it has {size} bytes; {LONGEST} are possible" if size > LONGEST else None


def problem_of_pair(speaker: str, name: str) -> str | None:
    """The same of an utterance, whose files bear both; says which of the two it is."""
    for what, value in (("speaker", speaker), ("basename", name)):
        problem = problem_of(value)
        if problem is not None:
            return f"the {what} {value[:60]!r} is not a file name: {problem}"
    size = len(speaker.encode()) + len(name.encode())
    if size > LONGEST:
        return f"the speaker {speaker[:30]!r} and the basename {name[:30]!r} have {size} bytes; {LONGEST} are possible"
    return None
