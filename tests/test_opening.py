"""Products opened to shares: among any players, and a false mask is held against whoever sent it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from commitments.paillier import Ciphertext
from commitments.params import SLOT_BITS
from commitments.prss import mask_sets
from commitments.shamir import reconstruct
from darkpool.committee.blame import Charge
from darkpool.committee.steps import Heard
from darkpool.errors import RoundAborted
from darkpool.matcher import Product
from tests.mesh_support import run
from tests.players import ALL, Player, Said, evidence, found, liar_of, play, playing
from tests.venue_support import seats

KEY = seats(4, 1)[0].committee.key
WIDTH = KEY.ciphertext_bytes
SETS = mask_sets(4, 1)  # 123, 124, 134, 234
LIAR, THREE = 4, (1, 2, 4)
LOTS = ((5, 0), (7, (1 << 48) - 1), (0, 0))


def products() -> list[Product]:
    return [
        Product(b"curve/%d" % k, 0, KEY.encrypt(a + (b << SLOT_BITS), 3 + k)) for k, (a, b) in enumerate(LOTS)
    ]


PRODUCTS = products()


def opens(padded: int = len(LOTS)) -> Callable[[Player], Awaitable[object]]:
    return lambda player: player.open("x", PRODUCTS, {0: 2}, padded)


def lied(set_: tuple[int, ...]) -> Said:
    """About the mask ciphertext of that set, of the first product."""
    place = [a for a in SETS if LIAR in a].index(set_)

    def say(step: str, receiver: int, body: bytes) -> bytes:
        del receiver
        if step != "x/masks":
            return body
        c = KEY.decode_ciphertext(body[place * WIDTH : (place + 1) * WIDTH], "mask")
        wrong: Ciphertext = c * (1 + KEY.n) % KEY.n2
        return body[: place * WIDTH] + KEY.encode_ciphertext(wrong) + body[(place + 1) * WIDTH :]

    return say


@pytest.mark.parametrize("players", [ALL, THREE, (2, 3, 4)])
@pytest.mark.parametrize("padded", [3, 6])
def test_any_players_get_their_shares_of_every_slot(
    tmp_path: Path, players: tuple[int, ...], padded: int
) -> None:
    """At the point each has in the committee, whoever else plays."""

    async def body() -> None:
        async with playing(tmp_path, players) as table:
            shares = await play(table, opens(padded))
            for product, lots in enumerate(LOTS):
                for slot, value in enumerate(lots):
                    points = {i: shares[i][product][slot] for i in players}  # type: ignore[index]
                    assert reconstruct(points, 4, 1) == value

    run(body())


def test_more_products_than_announced_are_not_opened(tmp_path: Path) -> None:
    """What is opened would show in the length of messages."""

    async def body() -> None:
        async with playing(tmp_path, THREE) as table:
            with pytest.raises(RoundAborted, match="3 products where at most 2"):
                await table[1].open("x", PRODUCTS, {0: 2}, 2)

    run(body())


@pytest.mark.parametrize("set_", [a for a in SETS if LIAR in a])
def test_of_four_everybody_names_who_sent_a_false_mask(tmp_path: Path, set_: tuple[int, ...]) -> None:
    """Holders of the key by their own; who does not hold it, because two others agree."""

    async def body() -> None:
        async with playing(tmp_path, lie={LIAR: lied(set_)}) as table:
            outcome = await play(table, opens())
            for index in (1, 2, 3):
                assert found(outcome[index]) == [(LIAR, Charge.MASK, "x/masks")]
                table[1].check(Heard.parse(evidence(outcome[index]).evidence))

    run(body())


def test_of_three_who_holds_no_key_of_a_disputed_mask_names_nobody(tmp_path: Path) -> None:
    """Member 1 has one word against another; member 2 knows better."""

    async def body() -> None:
        async with playing(tmp_path, THREE, lie={LIAR: lied((2, 3, 4))}) as table:
            outcome = await play(table, opens())
            assert found(outcome[1]) == []
            assert "disagree" in str(outcome[1])
            assert found(outcome[2]) == [(LIAR, Charge.MASK, "x/masks")]

    run(body())


def test_a_false_mask_told_to_one_alone_is_charged_by_that_one(tmp_path: Path) -> None:
    async def body() -> None:
        async with playing(tmp_path, lie={LIAR: lambda _s, _r, body: body}) as table:
            liar_of(table).whisper = lied((1, 2, 4))
            outcome = await play(table, opens())
            assert found(outcome[1]) == [(LIAR, Charge.MASK, "x/masks")]
            for index in (2, 3):
                assert {charge for _, charge, _ in found(outcome[index])} == {Charge.ABORTED}
                assert 1 in {member for member, _, _ in found(outcome[index])}

    run(body())


@pytest.mark.parametrize("how", ["short", "long", "empty", "no unit", "zero"])
def test_what_are_no_masks_is_charged_by_everybody(tmp_path: Path, how: str) -> None:
    def say(step: str, receiver: int, body: bytes) -> bytes:
        del receiver
        bad = {
            "short": body[1:],
            "long": body + b"\0",
            "empty": b"",
            "no unit": b"\xff" * WIDTH + body[WIDTH:],
            "zero": bytes(WIDTH) + body[WIDTH:],
        }
        return bad[how] if step == "x/masks" else body

    async def body() -> None:
        async with playing(tmp_path, lie={LIAR: say}) as table:
            outcome = await play(table, opens())
            for index in (1, 2, 3):
                assert found(outcome[index]) == [(LIAR, Charge.MALFORMED, "x/masks")]

    run(body())
