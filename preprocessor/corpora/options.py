"""Checking what preprocess.corpus_options says to a corpus's module."""

from __future__ import annotations

from collections.abc import Sequence

from errors import UserError


def chosen(corpus: str, option: str, values: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The values of a list option, each once, in the order of `known`.

    Raises UserError with the known ones when it is no list, empty, or holds another value.
    """
    where = f"preprocess.corpus_options.{option}"
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise UserError(
            f"{where}: {corpus} takes a list of {', '.join(known)}, for example [{known[0]}]; got {values!r}"
        )
    for value in values:
        if value not in known:
            raise UserError(f"{where}: {corpus} has no {value!r}; known: {', '.join(known)}")
    return tuple(value for value in known if value in values)
