"""What is asked of the process that tries a method, and what it says, a line of JSON each."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from dynbench.contract.check import Outcome
from dynbench.suite.schema import BackboneSpec


class Request(BaseModel):
    """`target`: a registered name or `path.py:Class`. `memory`: GiB that the process may take, where the operating
    system can limit them."""

    model_config = ConfigDict(frozen=True)

    target: str
    backbone: BackboneSpec
    params: dict[str, Any]
    memory: float
    events: Path


class Event(BaseModel):
    """One of: the method cannot be tried at all, and why; a check has begun; a check has ended."""

    model_config = ConfigDict(frozen=True)

    cannot: str | None = None
    begun: str | None = None
    outcome: Outcome | None = None
