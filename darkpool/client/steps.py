"""What the client's logic asks of the world: its coroutines do no input or output themselves.

A coroutine awaits `Send`, `Sleep` or `Work`, and a shell (shells.py) does it, in a thread or in an event
loop. So there is one implementation of everything, and neither shell knows what it carries.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from darkpool.errors import PeerFault

T = TypeVar("T")


class Unreachable(PeerFault):
    """The venue did not answer. What was asked may have happened or not."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "check the venue's URL and that it runs; then do it again", "venue")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whatever its status; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; the result is an `Answer`, or Unreachable is raised."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def __await__(self) -> Generator[Any, Any, Answer]:
        answer: Answer = yield self
        return answer


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait."""

    seconds: float

    def __await__(self) -> Generator[Any, Any, None]:
        yield self


@dataclass(frozen=True, slots=True)
class Work(Generic[T]):
    """Do what takes a while, or blocks; the result is the function's, as are its errors."""

    function: Callable[[], T]

    def __await__(self) -> Generator[Any, Any, T]:
        result: T = yield self
        return result


Steps: TypeAlias = Coroutine[Send | Sleep | Work[Any], Any, T]
