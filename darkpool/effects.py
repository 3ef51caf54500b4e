"""What an entry of the log does to the venue's state, for whoever tells others of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from darkpool.book import Ended
from darkpool.listing import ListedOrder, RoundResult
from darkpool.market import Round
from darkpool.types import Address
from darkpool.windows import Cleared, Pending


@dataclass(slots=True)
class Effects:
    """What an entry did. `void`: settlements that cannot land any more; `busted`: rounds that cannot."""

    accepted: list[ListedOrder] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    reason: str = ""
    result: RoundResult | None = None
    cleared: Cleared | None = None
    window: Pending | None = None
    settled: list[Pending] = field(default_factory=list)
    void: list[Pending] = field(default_factory=list)
    busted: list[Cleared] = field(default_factory=list)
    halted: list[Address] = field(default_factory=list)
    resumed: list[Address] = field(default_factory=list)


Change: TypeAlias = Callable[[int], Effects]
"""Makes a checked change; takes the entry's sequence."""
