"""A venue that says what is not so is found out, and nothing is signed on its word."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx
import pytest

from darkpool.client.trader import AsyncTrader
from darkpool.eip712 import sign_digest
from darkpool.errors import ConfigError, PeerFault
from darkpool.message import Message
from darkpool.receipt import Receipt
from darkpool.types import PrivateKey
from tests.client.carriers import Lying, answer
from tests.client.conftest import Play
from tests.client.plain_venue import OPERATOR, PlainVenue
from tests.client.test_trading import buy, sell

Json: TypeAlias = dict[str, Any]
Alter = Callable[[Json], object]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue that lies says so again."""
    monkeypatch.setattr("darkpool.client.history._PAUSE", 0.001)


@dataclass
class Case:
    """A lie: the path whose answers it alters."""

    path: str
    alter: Alter = field(repr=False)
    match: str | None = None


def changed(values: Json) -> Alter:
    return lambda body: {**body, **values}


def in_items(alter: Alter) -> Alter:
    return lambda body: {**body, "items": [alter(item) for item in body["items"]]}


def flipped(text: str, at: int = -1) -> str:
    digits = list(text)
    digits[at] = "1" if digits[at] != "1" else "2"
    return "".join(digits)


def in_token(index: int, values: Json) -> Alter:
    def alter(body: Json) -> Json:
        body["tokens"][index] |= values
        return body

    return alter


ACCOUNT_LIES = {
    "another commitment": Case("/collateral", in_token(1, {"commitment": "0x" + "c0" + "00" * 47})),
    "more balance": Case("/collateral", in_token(1, {"balance": 10**15})),
    "a debit that is none": Case("/collateral", in_token(0, {"pending_debit": 5})),
    "an order kept back": Case("/orders$", lambda body: {**body, "items": body["items"][1:]}),
    "a standing order of another hash": Case(
        "/orders$", in_items(lambda o: {**o, "hash": flipped(o["hash"])}), "order"
    ),
    "another nonce": Case("/orders$", in_items(lambda o: {**o, "nonce": o["nonce"] + 7}), "nonce"),
    "pages without end": Case("/orders$", lambda body: {**body, "next": 0}, "pages do not end"),
}


@pytest.mark.parametrize("name", ACCOUNT_LIES)
def test_a_lie_about_the_account_is_found_out_before_anything_is_signed(play: Play, name: str) -> None:
    case, trader = ACCOUNT_LIES[name], f"acc-{name}"

    async def scenario(v: PlainVenue) -> None:
        async with v.trader(trader) as honest:
            await v.deposit(honest)
            await honest.submit_many([buy("1"), buy("1", "1999.00")])
        for path in (v.folder / f"home-{trader}" / "orders").iterdir():
            path.unlink()
        carrier = Lying(v.transport, case.path, case.alter)
        async with v.trader(trader, transport=carrier) as fooled:
            with pytest.raises(PeerFault, match=case.match):
                await fooled.submit(buy("1"))
            assert ("POST", "/v1/orders") not in carrier.seen

    play(scenario)


def drop_box(fill: Json) -> Json:
    return {**fill, "boxes": dict(list(fill["boxes"].items())[:2])}


def swap_boxes(fill: Json) -> Json:
    boxes = fill["boxes"]
    return {**fill, "boxes": {"1": boxes["2"], "2": boxes["1"], "3": boxes["3"]}}


def without_my_leaf(body: Json) -> Json:
    return {**body, "leaves": body["leaves"][1:], "sequences": body["sequences"][1:]}


def resulting(alter: Callable[[Json], Json], signatures: int = 3) -> Alter:
    """Another result; the signatures stay, of what was signed, or some of them."""

    def changed_result(body: Json) -> Json:
        signed = Message.decode(bytes.fromhex(body["payload"][2:]))
        fields = {**alter(dict(signed.fields)), "signatures": signatures}
        other = Message(signed.op, fields, signed.blobs[:signatures])
        return {**body, "payload": "0x" + other.encode().hex()}

    return changed_result


def other_net(result: Json) -> Json:
    """One lot less for both, so that nets still sum to zero."""
    nets = [[account, net + (1 if net < 0 else -1)] for account, net in result["nets"]]
    return {**result, "nets": nets}


FILL_LIES = {
    "another net": Case("/fills", in_items(lambda f: {**f, "net": f["net"] + 1}), "another net"),
    "a missing box": Case("/fills", in_items(drop_box), "2/3 boxes"),
    "boxes of other members": Case("/fills", in_items(swap_boxes), "totals"),
    "a box of nobody": Case(
        "/fills", in_items(lambda f: {**f, "boxes": {**f["boxes"], "9": f["boxes"]["1"]}}), "totals"
    ),
    "the fill kept back": Case("/fills", lambda body: {**body, "items": []}, "kept back"),
    "another price": Case(
        "/result", resulting(lambda r: {**r, "price": r["price"] + 1}), "0/3 members signed"
    ),
    "a price off the grid": Case("/result", resulting(lambda r: {**r, "price": 99}), "level is 99"),
    "another volume": Case("/result", resulting(lambda r: {**r, "volume": 7}), "0/3 members signed"),
    "no price": Case("/result", resulting(lambda r: {**r, "price": None}), "price"),
    "other nets": Case("/result", resulting(other_net), "0/3 members signed"),
    "nets that do not sum to zero": Case(
        "/result", resulting(lambda r: {**r, "nets": r["nets"][:1]}), "must be 0"
    ),
    "nothing crossed": Case("/result", resulting(lambda _: {"crossed": False}), "nothing crossed"),
    "two signatures": Case("/result", resulting(lambda r: r, 2), "2/3 members signed"),
    "no signature": Case("/result", resulting(lambda r: r, 0), "signatures"),
    "another reference": Case(
        "/sealed", lambda b: {**b, "reference": b["reference"] + 1}, "0/3 members signed"
    ),
    "another sealing time": Case(
        "/sealed", lambda b: {**b, "sealed_at": b["sealed_at"] + 1}, "0/3 members signed"
    ),
    "another root": Case("/sealed", lambda b: {**b, "root": flipped(b["root"])}, "root"),
    "a list without the order": Case("/sealed", without_my_leaf),
    "no result": Case("/result", lambda _: {}, "payload"),
    "a result cut short": Case("/result", lambda b: {**b, "payload": b["payload"][:-2]}, "cut short: 65"),
}


@pytest.mark.parametrize("name", FILL_LIES)
def test_a_lie_about_a_fill_is_found_out(play: Play, name: str) -> None:
    case, me, other = FILL_LIES[name], f"me-{name}", f"other-{name}"

    async def scenario(v: PlainVenue) -> None:
        async with v.trader(me) as honest, v.trader(other) as peer:
            await v.deposit(honest)
            await v.deposit(peer)
            await honest.submit(buy("1"))
            await peer.submit(sell("0.4"))
            await v.close_round()
            await v.open_round()
        async with v.trader(me, transport=Lying(v.transport, case.path, case.alter)) as fooled:
            with pytest.raises(PeerFault, match=case.match):
                await fooled.orders()

    play(scenario)


def resigned(receipt: Json, key: PrivateKey, v: PlainVenue, changes: Mapping[str, object]) -> Json:
    found = Receipt.from_json({**receipt, **changes})
    signature = sign_digest(found.digest(v.view.terms.domain), key)
    return {**receipt, **changes, "signature": "0x" + signature.hex()}


@pytest.mark.parametrize(
    "fault",
    ["signature", "another operator", "another order", "a cancellation", "another policy", "nonsense"],
)
def test_a_forged_receipt_is_no_receipt(play: Play, fault: str) -> None:
    async def scenario(v: PlainVenue) -> None:
        def forge(receipt: Json) -> Json:
            match fault:
                case "signature":
                    return {**receipt, "sequence": receipt["sequence"] + 1, "size": receipt["size"] + 1}
                case "another operator":
                    return resigned(receipt, PrivateKey(b"\x0d" * 32), v, {})
                case "another order":
                    return resigned(receipt, OPERATOR, v, {"subject": flipped(receipt["subject"])})
                case "a cancellation":
                    return resigned(receipt, OPERATOR, v, {"kind": 2})
                case "another policy":
                    return resigned(receipt, OPERATOR, v, {"policy": "0x" + "07" * 32})
                case _:
                    return {"receipt": "yes"}

        name = f"rec-{fault}"
        async with v.trader(name, transport=Lying(v.transport, "/orders$", forge, "POST")) as fooled:
            await v.deposit(fooled)
            with pytest.raises(PeerFault):
                await fooled.submit(buy("1"))
        assert list((v.folder / f"home-{name}" / "receipts").iterdir()) == []
        async with v.trader(name) as honest:  # it is in doubt until an honest venue answers
            assert len(await honest.orders()) == 1

    play(scenario)


def of_others(entry: str) -> str:
    """The first committee with another member 1."""
    message = Message.decode(bytes.fromhex(entry[2:]))
    members = {**message.fields["members"], "1": "11" * 20}
    return "0x" + Message("committee", {**message.fields, "members": members}).encode().hex()


IDENTITY_LIES = {
    "operator": changed({"operator": "0x" + "11" * 20}),
    "key": lambda b: {**b, "committee": {"history": [flipped(b["committee"]["history"][0], 300)]}},
    "epoch": lambda b: {**b, "summary": {**b["summary"], "key_epoch": 1}},
    "terms": lambda b: {**b, "terms": flipped(b["terms"], 300)},
    "members": lambda b: {**b, "committee": {"history": [of_others(b["committee"]["history"][0])]}},
    "history": lambda b: {**b, "committee": {"history": []}},
    "twice": lambda b: {**b, "committee": {"history": 2 * b["committee"]["history"]}},
    "summary": lambda b: {**b, "summary": {**b["summary"], "id": flipped(b["summary"]["id"])}},
    "token": lambda b: {**b, "base": {**b["base"], "address": "0x" + "12" * 20}},
}


@pytest.mark.parametrize("name", IDENTITY_LIES)
def test_a_venue_that_is_another_than_before_is_not_talked_to(play: Play, name: str) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("pin"):
            pass
        with pytest.raises(ConfigError if name in {"operator", "members"} else PeerFault):
            async with v.trader("pin", transport=Lying(v.transport, "/markets/", IDENTITY_LIES[name])):
                pass

    play(scenario)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b"nul", b"[" * 40, b'{"items": 1}', b'{"known": 1}', b"\xff\xfe"]
)
def test_answers_that_are_none_are_the_venues_fault(play: Play, body: bytes) -> None:
    async def scenario(v: PlainVenue) -> None:
        async with v.trader("non") as honest:
            if not await honest.balances():
                await v.deposit(honest)
        for path in ("/collateral", "/orders$", "/fills"):
            async with v.trader("non", transport=Lying(v.transport, path, lambda _: body)) as fooled:
                with pytest.raises(PeerFault):
                    await both(fooled)

    play(scenario)


async def both(trader: AsyncTrader) -> None:
    await trader.balances()
    await trader.orders()


def test_an_answer_beyond_the_bound_is_cut_off(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkpool.client.shells.MAX_ANSWER", 100)

    async def scenario(v: PlainVenue) -> None:
        with pytest.raises(PeerFault, match="over 100 bytes"):
            async with v.trader("big"):
                pass

    play(scenario)


def test_evidence_that_does_not_hold_is_named(play: Play) -> None:
    def other_entry(body: Json) -> Json:
        entry = bytearray(base64.b64decode(body["entry"]))
        entry[-1] ^= 1
        return {**body, "entry": base64.b64encode(entry).decode()}

    async def scenario(v: PlainVenue) -> None:
        async with v.trader("evi") as honest:
            await v.deposit(honest)
            placed = await honest.submit(buy("1"))
        async with v.trader("evi", transport=Lying(v.transport, "/evidence", other_entry)) as fooled:
            with pytest.raises(PeerFault, match="entry"):
                await fooled.check_inclusion(placed.hash)

    play(scenario)


def test_a_redirect_is_not_followed(play: Play) -> None:
    class Redirecting(Lying):
        async def carry(self, _: httpx.Request) -> httpx.Response:
            return answer(b"", 302, location="http://elsewhere/v1/markets")

    async def scenario(v: PlainVenue) -> None:
        with pytest.raises(PeerFault, match="status 302"):
            async with v.trader("red", transport=Redirecting(v.transport, "", lambda b: b)):
                pass

    play(scenario)
