"""Players' ends of one attempt at a clearing, over real sockets in one process; any of them may lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from commitments.errors import VerificationError
from commitments.paillier import Ciphertext
from commitments.threshold import Opening
from darkpool.committee.blame import Blame, Charge, Faulted
from darkpool.committee.opening import Session
from darkpool.committee.steps import Attempt, Heard
from darkpool.eip712 import SIGNATURE_BYTES
from darkpool.netting import Signers
from tests.mesh_support import group
from tests.venue_support import CHAIN_ID, seats

LIST: Final = b"\x0a" * 32  # what all of them signed
SECONDS: Final = 5.0
ALL: Final = (1, 2, 3, 4)

Said = Callable[[str, int, bytes], bytes]
"""(step, receiver, body) -> the body that is signed and sent instead."""


class Player(Session):
    """An honest one; it keeps what it has pinned, and what it was sent."""

    pins: dict[str, bytes]


class Liar(Player):
    """Signs whatever `say` makes of its messages; `whisper` of what it tells the first of its peers alone.

    If it `complains`, it says of whatever it combines that it does not.
    """

    say: Said
    whisper: Said | None = None
    complains = False

    def _signed(self, step: str, receiver: int, body: bytes) -> bytes:
        return super()._signed(step, receiver, self.say(step, receiver, body))

    async def _exchange(
        self, step: str, out: Mapping[int, bytes], receiver: int | None = None
    ) -> dict[int, Heard]:
        if self.whisper is not None:
            first = self.peers[0]
            to = first if receiver is None else receiver
            body = self.whisper(step, to, out[first][:-SIGNATURE_BYTES])
            out = {**out, first: super()._signed(step, to, body)}
        return await super()._exchange(step, out, receiver)

    async def _openings(
        self, step: str, mine: Mapping[int, Opening | None], masked: Sequence[Ciphertext], padded: int
    ) -> tuple[dict[int, Opening | None], dict[int, Heard]]:
        if self.complains and isinstance(mine, dict):
            mine.update(dict.fromkeys(mine))
        return await super()._openings(step, mine, masked, padded)


def committee_of(n: int, t: int = 1) -> Signers:
    return Signers(t, {seat.index: seat.signer for seat in seats(n, t)})


@asynccontextmanager
async def playing(
    folder: Path,
    players: tuple[int, ...] = ALL,
    n: int = 4,
    t: int = 1,
    lie: Mapping[int, Said] | None = None,
    seconds: float = SECONDS,
) -> AsyncIterator[dict[int, Player]]:
    """Their sessions, by index; `lie`: what members of these indices say."""
    async with group(folder, n) as joined:
        table: dict[int, Player] = {}
        for index in players:
            pins: dict[str, bytes] = {}

            def pin(step: str, revealed: bytes, pins: dict[str, bytes] = pins) -> None:
                if pins.setdefault(step, revealed) != revealed:
                    raise VerificationError(step, "it reveals another value")

            seat, mesh = seats(n, t)[index - 1], joined.members[index]
            attempt = Attempt(LIST, 1, players)
            said = lie and lie.get(index)
            kind = Liar if said else Player
            made = kind(seat, committee_of(n, t), mesh, attempt, seconds, pin, CHAIN_ID)
            made.pins = pins
            if isinstance(made, Liar) and said:
                made.say = said
            table[index] = made
        yield table


async def play(
    table: Mapping[int, Player], act: Callable[[Player], Awaitable[object]]
) -> dict[int, object | Faulted]:
    """What each gets out of it; who finds a fault ends the attempt, as members do."""

    async def one(player: Player) -> object | Faulted:
        try:
            return await act(player)
        except Faulted as fault:
            player.mesh.abort(player.name, str(fault))
            return fault

    return dict(zip(table, await asyncio.gather(*map(one, table.values())), strict=True))


def liar_of(table: Mapping[int, Player]) -> Liar:
    """The only one."""
    (liar,) = (p for p in table.values() if isinstance(p, Liar))
    return liar


def found(outcome: object) -> list[tuple[int, Charge, str]]:
    """Whom it charges with what in which step."""
    assert isinstance(outcome, Faulted), outcome
    return [(b.member, b.charge, b.step) for b in outcome.blame]


def evidence(outcome: object) -> Blame:
    """The only charge."""
    assert isinstance(outcome, Faulted), outcome
    (blame,) = outcome.blame
    return blame
