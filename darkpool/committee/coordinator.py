"""The operator's side of a committee: it starts members, tells all of them the same, and collects answers.

It holds no key, sees no share and no partial decryption: members take those steps among themselves. What
passes here is what the operator knows; `seen` keeps the shape of it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from commitments.errors import DecodeError, VerificationError
from commitments.threshold import Committee
from darkpool import eip712
from darkpool.book import NO_CROSS, RoundResult, SealedList
from darkpool.committee.seat import Seat
from darkpool.committee.transport import COORDINATOR, NUMBER_BYTES, Kind, Link, Tap, connect
from darkpool.errors import PeerFault, RoundAborted
from darkpool.market import Round
from darkpool.message import Message, terms_message
from darkpool.netting import Signers
from darkpool.order import SealedOrder, Terms
from darkpool.types import Address, Lots, Signature, Tick

START_SECONDS: Final = 60.0
CLEAR_SECONDS: Final = 120  # for one step of a clearing
REPLY_SECONDS: Final = 1_800.0
MAX_BATCH: Final = 128
_MODULE: Final = "darkpool.committee.node"
_ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class SignedResult:
    """What a quorum says of a round: result, settlement signatures by member, sealed totals by account."""

    result: RoundResult
    signatures: dict[int, Signature] = field(default_factory=dict)
    boxes: dict[Address, dict[int, bytes]] = field(default_factory=dict, repr=False)


class Coordinator:
    """A running committee. Use as an async context manager; leaving it ends the members.

    `modules` names each member's program, which tests replace by faulty ones; `clear_timeout` is how many
    seconds members wait for each other in a step of a clearing.
    """

    def __init__(
        self,
        seats: Sequence[Seat],
        home: Path,
        modules: Sequence[str] | None = None,
        tap: Tap | None = None,
        clear_timeout: int = CLEAR_SECONDS,
    ) -> None:
        self.committee: Committee = seats[0].committee
        self.signers = Signers(self.committee.threshold, {seat.index: seat.signer for seat in seats})
        self._seats, self._home, self._tap = seats, home, tap
        self._modules = modules or [_MODULE] * len(seats)
        self._processes: list[asyncio.subprocess.Process] = []
        self._links: dict[int, Link] = {}
        self._clear_timeout = clear_timeout
        self._turns = {seat.index: asyncio.Lock() for seat in seats}
        self._asked = 0
        self._generation = 0
        self._sockets: tempfile.TemporaryDirectory[str] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._launch()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _launch(self) -> None:
        # Socket paths are short by law of the system (108 bytes), hence not below `home`; mode 0700.
        self._sockets = tempfile.TemporaryDirectory(prefix="dp-")
        sockets = Path(self._sockets.name)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        for seat, module in zip(self._seats, self._modules, strict=True):
            home = self._home / f"member-{seat.index}"
            home.mkdir(mode=0o700, parents=True)
            seat.save(home / "seat.json")
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, str(home), str(sockets),
                stdin=asyncio.subprocess.DEVNULL, env=environment,
            )  # fmt: skip
            self._processes.append(process)
        for seat in self._seats:
            self._links[seat.index] = await connect(
                sockets, seat.index, COORDINATOR, START_SECONDS, self._tap
            )
        await self.restart_evaluators()

    async def close(self) -> None:
        """End all members."""
        for link in self._links.values():
            link.close()
        for process in self._processes:
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()
        self._links.clear()
        self._processes.clear()
        if self._sockets is not None:
            self._sockets.cleanup()

    # --- requests -----------------------------------------------------------------------------------

    async def _ask(self, index: int, request: bytes) -> Message:
        """One request, one reply, by number: a late reply to a request given up is passed over."""
        link = self._links[index]
        async with self._turns[index]:
            self._asked += 1
            number = self._asked.to_bytes(NUMBER_BYTES, "big")
            link.send(Kind.REQUEST, number + request)
            await link.flush()
            try:
                async with asyncio.timeout(REPLY_SECONDS):
                    kind, body = await link.receive()
                    while kind is Kind.REPLY and body[:NUMBER_BYTES] < number:
                        kind, body = await link.receive()
            except TimeoutError:
                raise PeerFault(f"no reply in {REPLY_SECONDS:g} s", peer=link.name) from None
        if kind is not Kind.REPLY or body[:NUMBER_BYTES] != number:
            raise PeerFault(f"an unexpected {kind.name} frame", peer=link.name)
        try:
            return Message.decode(body[NUMBER_BYTES:])
        except DecodeError as error:
            raise PeerFault(str(error), peer=link.name) from None

    async def _all(self, request: Message) -> dict[int, Message]:
        """The same request to every member; their replies."""
        encoded = request.encode()
        indices = list(self._links)
        replies = await asyncio.gather(*(self._ask(i, encoded) for i in indices))
        return dict(zip(indices, replies, strict=True))

    async def _agreed(self, request: Message) -> dict[int, Message]:
        """Replies that all carry the same op and fields. Raises PeerFault naming who refused or differs."""
        replies = await self._all(request)
        for index, reply in replies.items():
            if reply.op == "refused":
                raise PeerFault(f"{request.op}: {reply.fields.get('reason')}", peer=f"member {index}")
        first = next(iter(replies.values()))
        for index, reply in replies.items():
            if (reply.op, reply.fields) != (first.op, first.fields):
                raise PeerFault(f"{request.op}: answers differently from the others", peer=f"member {index}")
        return replies

    async def restart_evaluators(self) -> None:
        """New MPyC children at every member, together."""
        self._generation += 1
        await self._agreed(Message("start", {"generation": self._generation}))

    async def open_market(self, terms: Terms) -> None:
        """Tell members of a market."""
        await self._agreed(terms_message(terms))

    async def chain_event(self, event: str, account: Address, token: Address, amount: int) -> None:
        """Pass on a final chain event: deposit, halt or resume."""
        fields = {"event": event, "account": account.hex(), "token": token.hex(), "amount": amount}
        await self._agreed(Message("chain", fields))

    async def open_round(self, market_round: Round) -> None:
        """Tell members which round is open, and its reference."""
        fields = {
            "market": market_round.market.id.hex(),
            "round": market_round.id,
            "reference": market_round.reference,
        }
        await self._agreed(Message("open", fields))

    async def submit(self, terms: Terms, orders: Sequence[bytes], now: int) -> None:
        """Orders the operator accepted, in arrival order. Raises PeerFault if a member refuses one."""
        for start in range(0, len(orders), MAX_BATCH):
            batch = orders[start : start + MAX_BATCH]
            replies = await self._agreed(
                Message("orders", {"market": terms.market.id.hex(), "now": now}, batch)
            )
            for index, reply in replies.items():
                reasons = [r for r in reply.fields["refused"] if r]
                if reasons:
                    raise PeerFault(
                        f"refused an order the operator accepted: {reasons[0]}", peer=f"member {index}"
                    )

    async def cancel(self, terms: Terms, order: SealedOrder, signature: bytes) -> None:
        """Pass on an account's signed cancellation."""
        fields = {
            "market": terms.market.id.hex(),
            "account": order.account.hex(),
            "nonce": order.nonce,
            "signature": signature.hex(),
        }
        await self._agreed(Message("cancel", fields))

    async def seal(self, terms: Terms, sealed: SealedList) -> dict[int, bytes]:
        """Every member's signature over the same root. Raises PeerFault if one has another list."""
        request = Message("seal", {"market": terms.market.id.hex(), "now": sealed.sealed_at})
        replies = await self._agreed(request)
        digest = sealed.digest(terms.domain)
        signatures = {}
        for index, reply in replies.items():
            if reply.op != "sealed" or reply.fields.get("root") != sealed.root.hex() or len(reply.blobs) != 1:
                raise PeerFault("sealed another list than the operator", peer=f"member {index}")
            try:
                eip712.check_signer(digest, reply.blobs[0], self.signers.addresses[index])
            except VerificationError as error:
                raise PeerFault(f"over the root, {error}", peer=f"member {index}") from None
            signatures[index] = reply.blobs[0]
        return signatures

    async def clear(self, terms: Terms, settlement: int, epoch: int) -> SignedResult:
        """Have the members clear. Raises RoundAborted, with the first reason, if any of them could not."""
        fields: dict[str, Any] = {
            "market": terms.market.id.hex(),
            "settlement": settlement,
            "epoch": epoch,
            "timeout": self._clear_timeout,
        }
        replies = await self._all(Message("clear", fields))
        for index, reply in replies.items():
            if reply.op == "refused":
                raise RoundAborted(f"member {index}: {reply.fields.get('reason')}")
        first = next(iter(replies.values()))
        for index, reply in replies.items():
            if (reply.op, reply.fields) != (first.op, first.fields):
                raise RoundAborted(f"member {index} reports another result than the others")
        if first.op == "no_cross":
            return SignedResult(NO_CROSS)
        nets = {Address(bytes.fromhex(a)): int(net) for a, net in first.fields["nets"]}
        result = RoundResult(
            crossed=True, price=Tick(first.integer("price")), volume=Lots(first.integer("volume")), nets=nets
        )
        if any(len(reply.blobs) != 1 + len(nets) for reply in replies.values()):
            raise RoundAborted("a member sent too few sealed totals")
        signed = SignedResult(result)
        for index, reply in replies.items():
            signed.signatures[index] = Signature(reply.blobs[0])
            for account, box in zip(nets, reply.blobs[1:], strict=True):
                signed.boxes.setdefault(account, {})[index] = box
        return signed

    async def finish(self, terms: Terms, outcome: str) -> None:
        """The common end of the round: "result" or "abort". After an abort the evaluators start afresh."""
        await self._agreed(Message("finish", {"market": terms.market.id.hex(), "outcome": outcome}))
        if outcome == "abort":
            await self.restart_evaluators()

    async def settled(self, terms: Terms, market_round: Round, *, final: bool) -> None:
        """The round's settlement is final, or void."""
        fields = {"market": terms.market.id.hex(), "round": market_round.id, "final": final}
        await self._agreed(Message("settled", fields))

    async def status(self) -> dict[int, Message]:
        """Counters of every member: peak memory, orders, openings, traffic with its peers."""
        return await self._all(Message("status"))
