"""A member to be: it has a place in committee.json and no share yet.

    reshare    the members that stay deal it one (keylife.py), and it stages its seat
    withdraw   they gave the change up: what is staged is erased
    seat       the log has a committee of the staged epoch in office: the seat becomes its own, and node.py
               goes on with it as a member

Of the log it learns as a member. What it is told here it need not believe: those who stay name every message
after the sharing they change, so a wrong one makes their messages none; and a seat taken too early signs
nothing until the log has it in office.
"""

from __future__ import annotations

from pathlib import Path

from commitments.errors import CommitmentsError
from commitments.threshold import MAX_EPOCH
from darkpool.committee import staging
from darkpool.committee.changing import changed, read_change, stage
from darkpool.committee.home import SEAT
from darkpool.committee.keylife import KeyChange
from darkpool.committee.mesh import Mesh
from darkpool.committee.seat import Seat
from darkpool.errors import DarkpoolError, OrderRefused
from darkpool.message import Message
from darkpool.types import PrivateKey


class Successor:
    """State and behaviour of one; `handle` answers the coordinator's requests. `over`: it has its seat."""

    def __init__(self, index: int, members: int, signing_key: PrivateKey, home: Path) -> None:
        self.mesh = Mesh(index, members)
        self.over = False
        self._signing_key, self._home, self._path = signing_key, home, home / SEAT

    async def handle(self, request: Message) -> Message:
        """The reply; a refusal is a reply too."""
        try:
            if request.op == "status":
                return self._status()
            if request.op == "reshare":
                return await self._reshare(request)
            if request.op == "withdraw":
                staging.withdraw(self._path)
                return Message("withdrawn")
            if request.op == "seat":
                return self._seat(request)
        except (DarkpoolError, CommitmentsError) as error:
            return Message("refused", {"reason": str(error), "retry": False})
        reason = f"{request.op[:32]}: this member waits for its share"
        return Message("refused", {"reason": reason, "retry": True})

    async def close(self) -> None:
        """Nothing is to be ended."""

    def _status(self) -> Message:
        peers = sorted(self.mesh.links)
        fields = {"size": 0, "peers": peers, "waits": True, "staged": staging.staged(self._path)}
        return Message("status", fields)

    async def _reshare(self, request: Message) -> Message:
        parameters = read_change(request)
        if self.mesh.index not in parameters.change.replaced:
            raise OrderRefused(
                "replaced: this member is not among them, and has no share to keep",
                "name it in next-committee.json",
            )
        change = KeyChange.succeed(parameters, self.mesh.index, self._signing_key)
        return stage(await changed(change, self.mesh), self._home)

    def _seat(self, request: Message) -> Message:
        due = request.integer("key_epoch", 0, MAX_EPOCH)
        if staging.staged(self._path):
            committee = Seat.load(self._path.with_suffix(staging.NEXT)).committee
            if committee.epoch == due:
                staging.commit(self._path, committee.digest)
        self.over = self._path.exists()
        return Message("seated" if self.over else "waits")
