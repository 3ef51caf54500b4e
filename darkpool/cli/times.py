"""Days and times of the command line: UTC, ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Final

_EPOCH: Final = date(1970, 1, 1)
_DAY: Final = 86_400
_LONGEST: Final = 10
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999


def day_of(text: str, option: str) -> int:
    """UTC days since 1970-01-01 of a date like 2026-11-01. Raises ConfigError naming the option."""
    from darkpool.errors import ConfigError

    try:
        found = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        found = None
    if found is None or found < _EPOCH:
        raise ConfigError(f"{option}: {text[:40]!r} is no day", "write it like 2026-11-01")
    return (found - _EPOCH).days


def expiry_of(text: str) -> int:
    """Unix seconds of the end of that day; 0 for no text. Raises ConfigError."""
    return (day_of(text, "--expires") + 1) * _DAY if text else 0


def day_text(day: int) -> str:
    """2026-11-01; a day beyond the calendar by its number."""
    return time_text(day * _DAY)[:_LONGEST] if day * _DAY <= _LAST_SECOND else f"day {day}"


def time_text(seconds: int) -> str:
    """2026-11-01T12:00:00Z; a time beyond the calendar by its number."""
    if seconds > _LAST_SECOND:
        return f"{seconds} s"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
