"""What became of an acknowledged order: every end that holds, and one wrong thing at a time in each."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

import pytest

from commitments import merkle
from commitments.errors import DecodeError
from commitments.paillier import PublicKey
from darkpool.book import cancel_all_digest, cancel_digest
from darkpool.certificates import abandon_digest
from darkpool.draft import Standing
from darkpool.eip712 import address_of, sign_digest
from darkpool.errors import ConfigError, PeerFault
from darkpool.inclusion import Evidence, check_inclusion
from darkpool.listing import ListedOrder, SealedList
from darkpool.market import Side
from darkpool.message import Message, terms_message
from darkpool.netting import Signers
from darkpool.order import Order, SealedOrder, TimeInForce
from darkpool.receipt import Kind, Receipt
from darkpool.sealed_view import LEAF_BYTES, SealedListView
from darkpool.tenure import Tenure, Tenures
from darkpool.types import Address, Lots, Nonce, PrivateKey, Quanta, RoundId, Tick
from darkpool.wallet import Wallet
from tests.api.stand_in import ADA, BEN, MARKET, NOW, OPERATOR, seats, terms
from tests.succession import other_seats, signers_of

SIGNERS: Final = Signers(1, {seat.index: seat.signer for seat in seats()})
TENURES: Final = Tenures((Tenure(SIGNERS, terms().key),))
ROUND: Final = 7


@cache
def sealed_order(key: PrivateKey = ADA, tif: int = 2, valid_until: int = 0) -> SealedOrder:
    wallet = Wallet(terms(), SIGNERS, key, b"\x21" * 32)
    for token in terms().tokens:
        wallet.deposited(token, Quanta(10**15))
    standing = Standing(RoundId(ROUND), NOW, TimeInForce(tif), valid_until)
    draft = wallet.draft(Order(Side.BUY, Tick(2), Lots(3)), standing)
    return draft.finish(terms().key, terms().chain_id, terms().contract, key)


@dataclass
class Story:
    """A log with Ada's order as entry 2, the receipt for it, and whatever came after."""

    order: SealedOrder = field(default_factory=sealed_order)
    op: str = "order"

    def __post_init__(self) -> None:
        fields = {"time": NOW, "market": MARKET.hex()}
        self.entries = [b"one", b"two", Message(self.op, fields, [self.order.raw]).encode()]
        kind = Kind.ORDER if self.op == "order" else Kind.REPLACE
        self.receipt = Receipt(
            kind=kind,
            subject=self.order.hash,
            market=MARKET,
            account=self.order.account,
            sequence=2,
            size=3,
            root=merkle.root(self.entries),
            round=ROUND,
            time=NOW,
            policy=terms().policy_hash,
        ).signed(terms().domain, OPERATOR)

    def evidence(self, ending: Message | None = None) -> Evidence:
        tree = merkle.Tree()
        later = [*self.entries, b"three"]
        if ending is not None:
            later.append(ending.encode())
        for entry in [*later, b"five"]:
            tree.append(entry)
        place = len(later) - 1
        found = Evidence(
            size=tree.size,
            root=tree.root(),
            entry=self.entries[2],
            promised=tree.inclusion(2, 3),
            path=tree.inclusion(2),
        )
        if ending is None:
            return found
        return replace(
            found, ending=ending.encode(), ending_sequence=place, ending_path=tree.inclusion(place)
        )

    def check(self, evidence: Evidence, sealed: SealedListView | None = None, **changes: Any) -> str:  # noqa: ANN401
        given: dict[str, Any] = {
            "receipt": self.receipt,
            "terms": terms(),
            "tenures": TENURES,
            "operator": address_of(OPERATOR),
            **changes,
        }
        return check_inclusion(evidence=evidence, sealed=sealed, **given)


def sealed_view(*orders: SealedOrder, signed_by: tuple[int, ...] = (1, 2, 3)) -> SealedListView:
    leaves = tuple(o.leaf for o in orders)
    view = SealedListView(
        market=MARKET,
        round=ROUND,
        reference=4,
        sealed_at=NOW,
        root=merkle.root(leaves),
        terms_hash=terms().hash,
        audit_root=merkle.EMPTY_ROOT,
        leaves=leaves,
        sequences=tuple(range(len(leaves))),
        signatures={},
    )
    return signed(view, signed_by)


def signed(view: SealedListView, by: tuple[int, ...] = (1, 2, 3)) -> SealedListView:
    keys = {seat.index: seat.signing_key for seat in seats()}
    digest = view.digest(terms().domain)
    return replace(view, signatures={i: sign_digest(digest, keys[i]) for i in by})


BENS: Final = sealed_order(BEN)


def test_a_view_is_signed_as_the_list_it_shows() -> None:
    orders = (sealed_order(), BENS)
    view = sealed_view(*orders)
    listed = tuple(ListedOrder.of(o) for o in orders)
    shown = SealedList(RoundId(ROUND), MARKET, Tick(4), NOW, listed, view.root, terms().hash)
    assert view.digest(terms().domain) == shown.digest(terms().domain)
    assert {len(leaf) for leaf in view.leaves} == {LEAF_BYTES}
    assert view.hashes == tuple(o.hash for o in orders)


@pytest.mark.parametrize("op", ["order", "replace"])
def test_a_sealed_order_is_found_in_the_members_list(op: str) -> None:
    story = Story(op=op)
    view = sealed_view(BENS, story.order)
    assert story.check(story.evidence(), view) == "sealed in round 7, order 2 of 2"
    following = signed(replace(view, round=ROUND + 1))
    assert story.check(story.evidence(), following) == "sealed in round 8, order 2 of 2"


def test_before_the_round_is_sealed_the_log_has_the_order() -> None:
    story = Story()
    assert "still to be sealed" in story.check(story.evidence())


def test_a_list_without_the_order_and_without_a_reason_is_evidence() -> None:
    story = Story()
    with pytest.raises(PeerFault, match="for no reason") as fault:
        story.check(story.evidence(), sealed_view(BENS))
    assert fault.value.peer == "operator"


def wish(op: str, key: PrivateKey = ADA, **fields: Any) -> Message:  # noqa: ANN401
    account = address_of(key)
    if op == "cancel_all":
        digest = cancel_all_digest(terms(), account, Nonce(fields["below"]))
    else:
        digest = cancel_digest(terms(), account, Nonce(0))
    given = {"time": NOW, "market": MARKET.hex(), "account": account.hex(), **fields}
    return Message(op, {"signature": sign_digest(digest, key).hex(), **given})


def chain(kind: str, account: Address) -> Message:
    row = (
        [kind, account.hex(), 0, 5]
        if kind != "cancel_requested"
        else [kind, account.hex(), "00" * 32, "01" * 32]
    )
    return Message("chain", {"time": NOW, "block": 9, "at": NOW, "hash": "00" * 32, "events": [row]})


ROUND_ORDER: Final = sealed_order(tif=0)
TIMED: Final = sealed_order(tif=1, valid_until=NOW + 50)
OTHER_TERMS: Final = replace(terms(), settle_window=601)


def release(*orders: object, market: bytes = MARKET) -> Message:
    return Message("release", {"market": market.hex(), "orders": list(orders), "reason": "no credential"})


ADAS: Final = [address_of(ADA).hex(), 0]
BENS_ONE: Final = [address_of(BEN).hex(), 0]


@pytest.mark.parametrize(
    "order, ending, said",
    [
        (sealed_order(), wish("cancel", nonce=0), "cancelled by its account, entry 4"),
        (sealed_order(), wish("replace", nonce=0), "replaced, entry 4"),
        (sealed_order(), wish("cancel_all", below=1), "cancelled by its account, entry 4"),
        (sealed_order(), chain("withdrawal_requested", address_of(ADA)), "asked on chain"),
        (sealed_order(), chain("cancel_requested", address_of(ADA)), "asked on chain"),
        (sealed_order(), terms_message(OTHER_TERMS, NOW), "new terms"),
        (sealed_order(), release(BENS_ONE, ADAS), "released by the operator: no credential"),
        (TIMED, Message("seal", {"time": NOW + 50, "market": MARKET.hex(), "round": 7}), "expired at"),
        (ROUND_ORDER, Message("open", {"time": NOW, "market": MARKET.hex(), "round": 8}), "with its round 7"),
    ],
)
def test_each_reason_that_ends_an_order_holds(order: SealedOrder, ending: Message, said: str) -> None:
    story = Story(order)
    for sealed in (None, sealed_view(BENS)):
        assert said in story.check(story.evidence(ending), sealed)


@pytest.mark.parametrize(
    "order, ending",
    [
        (sealed_order(), wish("cancel", BEN, nonce=0)),
        (sealed_order(), Message("cancel", {**wish("cancel").fields, "signature": "11" * 65})),
        (sealed_order(), Message("cancel", {"market": MARKET.hex()})),
        (sealed_order(), wish("cancel_all", below=0)),
        (sealed_order(), wish("cancel_all", BEN, below=5)),
        (sealed_order(), Message("cancel_all", {**wish("cancel_all", below=1).fields, "below": 2})),
        (sealed_order(), chain("withdrawal_requested", address_of(BEN))),
        (sealed_order(), chain("deposit", address_of(ADA))),
        (sealed_order(), Message("chain", {"events": "none"})),
        (sealed_order(), terms_message(terms(), NOW)),
        (sealed_order(), release(BENS_ONE)),
        (sealed_order(), release([address_of(ADA).hex(), 1])),
        (sealed_order(), release(ADAS, market=bytes(32))),
        (sealed_order(), Message("release", {"market": MARKET.hex(), "orders": [ADAS], "reason": 5})),
        (sealed_order(), Message("release", {"market": MARKET.hex()})),
        (sealed_order(), Message("seal", {"time": NOW + 10**9, "market": MARKET.hex()})),
        (TIMED, Message("seal", {"time": NOW + 49, "market": MARKET.hex()})),
        (TIMED, Message("seal", {"time": NOW + 50, "market": "04" * 32})),
        (ROUND_ORDER, Message("open", {"time": NOW, "market": MARKET.hex(), "round": 7})),
        (ROUND_ORDER, Message("open", {"time": NOW, "market": "04" * 32, "round": 8})),
        (sealed_order(), Message("open", {"time": NOW, "market": MARKET.hex(), "round": 8})),
        (sealed_order(), Message("abort", {"market": MARKET.hex()})),
        (sealed_order(), Message("result", {"market": MARKET.hex()})),
        (sealed_order(), Message("x" * 500, {"market": MARKET.hex()})),
    ],
)
def test_what_is_no_reason_is_evidence(order: SealedOrder, ending: Message) -> None:
    story = Story(order)
    with pytest.raises(PeerFault, match="reason"):
        story.check(story.evidence(ending))


def succession(key: PublicKey) -> tuple[Message, Tenures]:
    """The same members with that key, and all committees with them."""
    present = TENURES.current
    following = replace(present, key=key, key_epoch=1, since=NOW, sharing=b"\x5a" * 32)
    digest = present.succession(following, terms().domain, terms().venue)
    signatures = [sign_digest(digest, seat.signing_key) for seat in seats()]
    entry = Message("committee", {"time": NOW, **following.fields()}, signatures)
    return entry, TENURES.after(entry, terms().domain, terms().venue)


def test_a_new_key_ends_an_order_and_other_shares_of_the_same_do_not() -> None:
    story, other = Story(), other_seats()[0].committee.key
    entry, tenures = succession(other)
    for sealed in (None, sealed_view(BENS)):
        said = story.check(story.evidence(entry), sealed, tenures=tenures, terms=replace(terms(), key=other))
        assert said == "released, because the committee has a new key, entry 4"
    with pytest.raises(PeerFault, match="no reason"):  # it is nothing that the committee signed
        story.check(story.evidence(entry))
    refreshed, same = succession(terms().key)
    with pytest.raises(PeerFault, match="no reason"):
        story.check(story.evidence(refreshed), tenures=same)
    # The same terms written again are no new ones, though the market has another key by now.
    with pytest.raises(PeerFault, match="no reason"):
        story.check(
            story.evidence(terms_message(terms(), NOW)), tenures=tenures, terms=replace(terms(), key=other)
        )


def test_a_list_is_checked_by_the_committee_of_its_time() -> None:
    story, (entry, _) = Story(), succession(terms().key)
    present = TENURES.current
    strangers = Tenure(signers_of(other_seats()), terms().key, 1, NOW)
    after = Tenures((present, replace(strangers, since=NOW + 1)), (entry.encode(),))
    assert "sealed in round" in story.check(story.evidence(), sealed_view(story.order), tenures=after)
    since = Tenures((present, strangers), (entry.encode(),))
    with pytest.raises(PeerFault, match="not signed by member"):
        story.check(story.evidence(), sealed_view(story.order), tenures=since)


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize(
    "change",
    [
        lambda e: replace(e, root=flipped(e.root)),
        lambda e: replace(e, size=e.size + 1),
        lambda e: replace(e, path=e.path[:-1]),
        lambda e: replace(e, path=(flipped(e.path[0]), *e.path[1:])),
        lambda e: replace(e, promised=(*e.promised, bytes(32))),
        lambda e: replace(e, promised=(flipped(e.promised[0]),)),
        lambda e: replace(e, entry=e.entry + b"\0"),
        lambda e: replace(e, ending_sequence=3),
        lambda e: replace(e, ending_sequence=2),
        lambda e: replace(e, ending_path=()),
        lambda e: replace(e, ending=e.ending + b"\0"),
    ],
)
def test_evidence_that_does_not_lead_to_the_roots_is_refused(change: Any) -> None:  # noqa: ANN401
    story = Story()
    with pytest.raises(PeerFault):
        story.check(change(story.evidence(wish("cancel", nonce=0))))


def test_a_log_with_another_entry_in_the_orders_place_is_evidence() -> None:
    story = Story(BENS)
    ours = replace(story.receipt, subject=sealed_order().hash).signed(terms().domain, OPERATOR)
    with pytest.raises(PeerFault, match="is not the order"):
        story.check(story.evidence(), receipt=ours)
    replaced = replace(story.receipt, kind=Kind.REPLACE).signed(terms().domain, OPERATOR)
    with pytest.raises(PeerFault, match="is not the order"):
        story.check(story.evidence(), receipt=replaced)


def test_a_receipt_of_another_operator_or_of_a_cancel_is_refused() -> None:
    story = Story()
    with pytest.raises(PeerFault, match="receipt"):
        story.check(story.evidence(), operator=address_of(ADA))
    with pytest.raises(ConfigError, match="not for an order"):
        story.check(story.evidence(), receipt=replace(story.receipt, kind=Kind.CANCEL))
    with pytest.raises(ConfigError, match="not for an order"):
        story.check(story.evidence(), receipt=replace(story.receipt, market=b"\x04" * 32))


@pytest.mark.parametrize("number", [ROUND - 1, ROUND + 2])
def test_the_list_of_another_round_says_nothing(number: int) -> None:
    story = Story()
    with pytest.raises(ConfigError, match="sealed list: of round"):
        story.check(story.evidence(), signed(replace(sealed_view(story.order), round=number)))


@pytest.mark.parametrize(
    "change",
    [
        lambda v: replace(v, leaves=v.leaves[:1]),
        lambda v: replace(v, leaves=(flipped(v.leaves[0]), *v.leaves[1:])),
        lambda v: replace(v, leaves=v.leaves[::-1]),
        lambda v: replace(v, root=flipped(v.root)),
        lambda v: replace(v, reference=5),
        lambda v: replace(v, sealed_at=v.sealed_at + 1),
        lambda v: replace(v, terms_hash=bytes(32)),
        lambda v: replace(v, round=ROUND + 1),
        lambda v: signed(v, (1, 2)),
        lambda v: signed(v, (1,)),
        lambda v: replace(v, signatures={**v.signatures, 3: v.signatures[2]}),
        lambda v: replace(v, signatures={**v.signatures, 4: v.signatures[2]}),
        lambda v: replace(v, signatures={1: v.signatures[1], 2: v.signatures[1], 3: v.signatures[1]}),
    ],
)
def test_a_list_the_members_did_not_sign_is_refused(change: Any) -> None:  # noqa: ANN401
    story = Story()
    with pytest.raises(PeerFault, match="sealed list"):
        story.check(story.evidence(), change(sealed_view(story.order, BENS)))


def abandoned(view: SealedListView, *by: int) -> Message:
    keys = {seat.index: seat.signing_key for seat in seats()}
    digest = abandon_digest(terms().domain, view.digest(terms().domain))
    fields = {"time": NOW, "market": MARKET.hex(), "round": ROUND, "reason": "tests"}
    return Message("abort", fields, [sign_digest(digest, keys[i]) for i in by])


def test_a_round_without_a_result_is_told_by_what_ended_it() -> None:
    story = Story()
    view = replace(sealed_view(story.order), signatures={})
    assert "follow with its end" in story.check(story.evidence(), view)
    assert "was aborted" in story.check(story.evidence(abandoned(view, 1, 3)), view)
    late = {**chain("deposit", address_of(BEN)).fields, "at": NOW + 601}
    assert "no result within" in story.check(story.evidence(Message("chain", late)), view)


@pytest.mark.parametrize("by", [(), (1,), (2, 2)])
def test_too_few_members_cannot_abort(by: tuple[int, ...]) -> None:
    story = Story()
    view = replace(sealed_view(story.order), signatures={})
    with pytest.raises(PeerFault, match="abort of round 7"):
        story.check(story.evidence(abandoned(view, *by)), view)


def test_an_abort_is_of_one_list_only() -> None:
    story = Story()
    view = replace(sealed_view(story.order), signatures={})
    other = replace(sealed_view(story.order, BENS), signatures={})
    with pytest.raises(PeerFault, match="abort of round 7"):
        story.check(story.evidence(abandoned(other, 1, 2, 3)), view)


@pytest.mark.parametrize("op", ["result", "cancel", "open"])
def test_a_round_that_ended_otherwise_needs_the_members_signatures(op: str) -> None:
    story = Story()
    view = replace(sealed_view(story.order), signatures={})
    in_time = Message("chain", {**chain("deposit", address_of(BEN)).fields, "at": NOW + 600})
    for ending in (Message(op, {"market": MARKET.hex()}), in_time):
        with pytest.raises(PeerFault, match="without the members' signatures"):
            story.check(story.evidence(ending), view)


def test_views_and_evidence_travel_as_json() -> None:
    view = sealed_view(sealed_order(), BENS)
    assert SealedListView.from_json(json.loads(json.dumps(view.as_json()))) == view
    for evidence in (Story().evidence(), Story().evidence(wish("cancel", nonce=0))):
        assert Evidence.from_json(json.loads(json.dumps(evidence.as_json()))) == evidence


@pytest.mark.parametrize(
    "name, value",
    [
        ("market", "0x"),
        ("round", -1),
        ("reference", 1 << 16),
        ("leaves", ["0x00"]),
        ("leaves", "0x"),
        ("sequences", [1]),
        ("sequences", [-1, 1]),
        ("sequences", [True, 1]),
        ("signatures", []),
        ("signatures", {"a": "0x" + "11" * 65}),
        ("signatures", {"01": "0x" + "11" * 65}),
        ("signatures", {"": "0x" + "11" * 65}),
        ("signatures", {"9" * 5000: "0x" + "11" * 65}),
        ("signatures", {"1": "0x11"}),
        ("signatures", {str(i): "0x" + "11" * 65 for i in range(65)}),
        ("more", 1),
    ],
)
def test_a_malformed_view_is_refused(name: str, value: object) -> None:
    body = {**sealed_view(sealed_order(), BENS).as_json(), name: value}
    with pytest.raises(DecodeError):
        SealedListView.from_json(body)


@pytest.mark.parametrize(
    "name, value",
    [
        ("size", 0),
        ("root", "0x" + "11" * 31),
        ("entry", "YQ"),
        ("entry", 1),
        ("path", ["0x11"]),
        ("path", ["0x" + "11" * 32] * 65),
        ("promised", None),
        ("ending_sequence", "4"),
        ("more", 1),
    ],
)
def test_malformed_evidence_is_refused(name: str, value: object) -> None:
    with pytest.raises(DecodeError):
        Evidence.from_json({**Story().evidence().as_json(), name: value})
