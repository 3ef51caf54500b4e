"""The operator's links to all members: the log to each of them, and requests to some or all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from darkpool.committee.follower import Follower
from darkpool.committee.meeting import Meeting
from darkpool.committee.member_link import MemberLink
from darkpool.errors import PeerFault, Unavailable
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.tenure import Tenure

SHORT_SECONDS: Final = 60.0
LAG_SECONDS: Final = 2.0
"""How long those that are here are waited for, once as many as it takes are ready."""

ReadLog = Callable[[int, int], Awaitable[Sequence[bytes]]]
"""(first, limit) -> entries, durable ones only."""


class MemberLinks:
    """Links to a running committee at its `meeting`. Close them when done.

    2t+1 members are enough for everything: others may be away, or refuse the log.
    `size` is how many entries the log has, of which `read_log` gives a page.
    """

    def __init__(self, signers: Signers, meeting: Meeting, read_log: ReadLog, size: int) -> None:
        self.signers, self.key_epoch = signers, 0
        self._links: Final = {i: MemberLink(meeting, i) for i in signers.addresses}
        self._followers: Final = {
            i: Follower(link, read_log, size, lambda: self.key_epoch) for i, link in self._links.items()
        }

    async def close(self) -> None:
        """Drop the links; members go on by themselves."""
        for follower in self._followers.values():
            await follower.close()
        for link in self._links.values():
            await link.close()

    @property
    def quorum(self) -> int:
        """How many members it takes: 2t+1."""
        return 2 * self.signers.threshold + 1

    def in_office(self, tenure: Tenure) -> None:
        """Those sign from now on, and successors among them may take their seats."""
        self.signers, self.key_epoch = tenure.signers, tenure.key_epoch

    # --- the log ------------------------------------------------------------------------------------

    def extended(self, size: int) -> None:
        """The log has so many entries by now: followers send what is missing."""
        for follower in self._followers.values():
            follower.extended(size)

    @property
    def faults(self) -> dict[int, str]:
        """Why members will not follow the log, by member."""
        return {i: f.fault for i, f in self._followers.items() if f.fault}

    @property
    def fault(self) -> str:
        """Why too few members follow the log, if it is so: the venue must not go on then."""
        faults = self.faults
        return next(iter(faults.values())) if len(self._links) - len(faults) < self.quorum else ""

    @property
    def away(self) -> str:
        """Which members cannot be reached now or will not follow, for status."""
        missing = [i for i, link in self._links.items() if not link.connected]
        why = "; ".join(f"member {i}: {self._links[i].trouble}" for i in missing)
        said = [f"members {missing} are away ({why})"] if missing else []
        said += [f"member {i} waits for its share" for i, f in self._followers.items() if f.waits]
        return "; ".join([*said, *(f"member {i} does not follow: {f}" for i, f in self.faults.items())])

    def check_all_here(self) -> None:
        """Raises Unavailable if there is a member without a link."""
        if not all(link.connected for link in self._links.values()):
            raise Unavailable(f"committee: {self.away}", "committee", "bring them back: this needs all")

    def lag(self) -> dict[int, int]:
        """By member, how many entries it lacks."""
        return {i: f.lag for i, f in self._followers.items()}

    async def caught_up(self, size: int, seconds: float = SHORT_SECONDS) -> list[int]:
        """The members that have so many entries, 2t+1 at least.

        Waits for all that are here, but for LAG_SECONDS only once enough have them. Raises PeerFault naming
        one that has not.
        """
        waits = {
            asyncio.create_task(follower.caught_up(size, seconds)): index
            for index, follower in self._followers.items()
        }
        try:
            async with asyncio.timeout(None) as grace:
                pending, enough = set(waits), False
                while pending and not (enough and self._only_away(pending, waits)):
                    _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    if not enough and sum(_succeeded(task) for task in waits) >= self.quorum:
                        enough = True
                        grace.reschedule(asyncio.get_running_loop().time() + LAG_SECONDS)
        except TimeoutError:
            pass
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        found = [index for task, index in waits.items() if _succeeded(task)]
        if len(found) < self.quorum:
            raise next(e for task in waits if (e := task.exception()) is not None)
        return found

    def _only_away(self, pending: Iterable[asyncio.Task[None]], waits: dict[asyncio.Task[None], int]) -> bool:
        return not any(self._follows(waits[task]) for task in pending)

    def _follows(self, index: int) -> bool:
        return self._links[index].connected and not self._followers[index].waits

    # --- requests -----------------------------------------------------------------------------------

    async def ask(self, index: int, request: Message, seconds: float) -> Message:
        """A reply that is no refusal. Raises PeerFault, or Unavailable for what passes by itself."""
        reply = await self._links[index].ask(request, seconds)
        if reply.op == "refused":
            raise refusal(index, request.op, reply)
        return reply

    async def some(
        self,
        request: Message,
        seconds: float,
        among: Iterable[int] | None = None,
        enough: int | None = None,
    ) -> tuple[dict[int, Message], dict[int, PeerFault | Unavailable]]:
        """The replies there are, and the reasons for those there are not, by member.

        With `enough` replies the others have LAG_SECONDS left.
        """
        indices = list(self._links) if among is None else list(among)
        asked = {asyncio.create_task(self.ask(i, request, seconds)): i for i in indices}
        found: dict[int, Message] = {}
        missing: dict[int, PeerFault | Unavailable] = {}
        pending, left = set(asked), None
        try:
            while pending:
                if left is None and enough is not None and len(found) >= enough:
                    left = asyncio.get_running_loop().time() + LAG_SECONDS
                wait = None if left is None else max(0.0, left - asyncio.get_running_loop().time())
                done, pending = await asyncio.wait(pending, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    error = task.exception()
                    if error is None:
                        found[asked[task]] = task.result()
                    elif isinstance(error, PeerFault | Unavailable):
                        missing[asked[task]] = error
                    else:
                        raise error
                if not done:
                    break
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        for task in pending:
            index = asked[task]
            missing[index] = PeerFault(f"no reply to {request.op} in time", peer=f"member {index}")
        return dict(sorted(found.items())), dict(sorted(missing.items()))

    async def _enough(
        self, request: Message, seconds: float, among: Iterable[int] | None = None
    ) -> dict[int, Message]:
        """The replies of 2t+1 members or more. Raises the first reason for one there is not."""
        found, missing = await self.some(request, seconds, among, self.quorum)
        if len(found) < self.quorum:
            raise next(iter(missing.values()), Unavailable("too few members are here", "committee"))
        return found

    async def status(self) -> dict[int, Message]:
        """Where each member that answers stands: log, evaluator, memory, traffic. Raises PeerFault."""
        return await self._enough(Message("status"), SHORT_SECONDS)


def refusal(index: int, op: str, reply: Message) -> PeerFault | Unavailable:
    """A refusal as the error it stands for."""
    reason = f"{op}: {reply.fields.get('reason')}"
    if reply.fields.get("retry") is True:
        return Unavailable(f"member {index}: {reason}", "committee")
    return PeerFault(reason, peer=f"member {index}")


def _succeeded(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
