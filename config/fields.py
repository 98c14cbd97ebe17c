"""What the sections of every configuration file are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0.0, le=1.0)]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]


# Of every section: unknown keys are refused, nothing changes, and "16" is not 16
STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())
