"""Telling people how far long work has come."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Something that can be told about progress; never about content."""

    def __call__(self, label: str, done: int, total: int | None) -> None:
        """`done` of `total` units of the step called `label`; `total` None if it is not known."""


def silent(label: str, done: int, total: int | None) -> None:
    """Tell nobody."""
    del label, done, total
