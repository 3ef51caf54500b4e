"""What several members replied to one request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from darkpool.committee.member_links import refusal
from darkpool.errors import PeerFault, Unavailable
from darkpool.message import Message


@dataclass(slots=True)
class Replies:
    """By member: replies; of those that refused the refusal too. faults: what the others gave instead."""

    replies: dict[int, Message] = field(default_factory=dict)
    refused: dict[int, Message] = field(default_factory=dict)
    faults: dict[int, PeerFault | Unavailable] = field(default_factory=dict)

    def take(self, index: int, op: str, task: asyncio.Task[Message]) -> None:
        """A request that has ended."""
        error = task.exception()
        if isinstance(error, PeerFault):
            self.faults[index] = error
        elif error is not None:
            raise error
        elif task.result().op == "refused":
            self.refused[index] = task.result()
            self.faults[index] = refusal(index, op, task.result())
        else:
            self.replies[index] = task.result()

    @property
    def reason(self) -> str:
        """The first fault; a member's own words rather than its absence."""
        said = [i for i in self.faults if i in self.refused] or list(self.faults)
        return str(self.faults[said[0]]) if said else ""
