"""A member's answers about who comes next: shares made anew, and signatures for another committee."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from darkpool.chain import Chain
from darkpool.committee import changing, staging, succession
from darkpool.committee.home import SEAT
from darkpool.committee.mesh import Mesh
from darkpool.committee.seat import Seat
from darkpool.committee.sharing import sharing_fields
from darkpool.errors import OrderRefused
from darkpool.message import Message
from darkpool.state import VenueState
from darkpool.tenure import NO_SHARING
from darkpool.tenure_file import Planned


class Holder(Protocol):
    """Who has the seat that is changed."""

    seat: Seat


class Changes:
    """One member's; `home` keeps its seat and its owner's plans. Without a home every change is refused."""

    def __init__(
        self, holder: Holder, home: Path | None, state: VenueState, mesh: Mesh, chain: Chain | None
    ) -> None:
        self._holder, self._home, self._state, self._mesh, self._chain = holder, home, state, mesh, chain
        self.operations: dict[str, Callable[[Message], Awaitable[Message]]] = {
            "sharing": self._sharing,
            "reshare": self._reshare,
            "withdraw": self._withdraw,
            "staged": self._staged,
            "succeed": self._succeed,
            "propose": self._propose,
        }

    def settle(self) -> bool:
        """Take the seat of the committee in office; whether it is another one. Raises ConfigError."""
        before = self._holder.seat
        if self._home is not None:
            self._holder.seat = changing.settled(self._home, before, self._state.tenures.current)
        return self._holder.seat is not before

    def check_seated(self) -> None:
        """Raises OrderRefused if the log's committee holds other shares than this member."""
        committee, tenure = self._holder.seat.committee, self._state.tenures.current
        if committee.epoch != tenure.key_epoch:
            raise OrderRefused(
                f"seat: its shares are of key epoch {committee.epoch}, the log's of {tenure.key_epoch}",
                "restore its backup of that epoch, or replace the member",
            )
        if tenure.sharing not in {NO_SHARING, committee.digest}:
            raise OrderRefused(
                f"seat: its shares are of another sharing of key epoch {committee.epoch} than the log's",
                "replace the member",
            )

    async def _sharing(self, _request: Message) -> Message:
        return Message("sharing", sharing_fields(self._holder.seat.committee))

    async def _reshare(self, request: Message) -> Message:
        if self._state.sealed is not None:
            raise OrderRefused("reshare: a round is sealed", "end it first", "round-sealed")
        seat, tenure, plan = self._holder.seat, self._state.tenures.current, self._plan()
        return await changing.reshare(
            request, seat, self._folder(), self._mesh, tenure, plan, self._state.time
        )

    async def _withdraw(self, _request: Message) -> Message:
        staging.withdraw(self._folder() / SEAT, self._state.time)
        return Message("withdrawn")

    async def _staged(self, _request: Message) -> Message:
        return changing.staged(self._folder())

    async def _succeed(self, request: Message) -> Message:
        seat, path = self._holder.seat, self._folder() / SEAT
        return await asyncio.to_thread(
            succession.succeed, seat, self._state, self._agreed(), self._chain, path, request
        )

    async def _propose(self, request: Message) -> Message:
        return await asyncio.to_thread(
            succession.propose, self._holder.seat, self._state, self._plan(), self._chain, request
        )

    def _plan(self) -> Planned | None:
        return succession.plan_of(self._folder())

    def _agreed(self) -> Planned | None:
        """Whom this member helps into office: its owner's plan; or the same with the shares it has staged."""
        current, path = self._state.tenures.current, self._folder() / SEAT
        plan = self._plan()
        if plan is not None and plan.tenure.key_epoch > current.key_epoch:
            return plan
        if not staging.staged(path):
            return None
        return Planned(changing.refreshed(current))

    def _folder(self) -> Path:
        if self._home is None:
            raise OrderRefused("committee: this member keeps no folder for another seat", "give it a home")
        return self._home
