"""What became of an acknowledged order, from signed and public data alone.

Either the list that 2t+1 members signed has the order in it, or a later log entry ended it for a reason that
anybody can check: the account's own signed wish, its expiry, its request on chain, new terms, a new committee
key, or the word of the operator that its policy has no place for it, which stays in the log for all to see.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field
from typing import Any, Final

from commitments import merkle
from commitments.encoding import Reader
from commitments.errors import CommitmentsError, VerificationError
from commitments.order_statement import Statement
from darkpool import eip712
from darkpool.book import cancel_all_digest, cancel_digest
from darkpool.certificates import check_abandoned
from darkpool.chain_events import read_events
from darkpool.errors import ConfigError, DarkpoolError, OrderRefused, PeerFault
from darkpool.jsonfields import Fields, hex_text, read_hex
from darkpool.message import Message, read_terms
from darkpool.order import Terms, TimeInForce, order_hash
from darkpool.receipt import Kind, Receipt
from darkpool.sealed_view import SealedListView
from darkpool.state import MAX_SOURCE
from darkpool.tenure import OP, Tenures, read_tenure
from darkpool.types import Address, Nonce, Signature

MAX_PATH: Final = 64
_OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The entries that took an order into the log and out of the book, with their places in a later log.

    size, root: that log; entry: the order's; path: its place in it; promised: its place under the receipt's
    root; ending, ending_sequence, ending_path: of the entry that ended it, empty and 0 if none did.
    """

    size: int
    root: bytes
    entry: bytes = field(repr=False)
    promised: tuple[bytes, ...]
    path: tuple[bytes, ...]
    ending: bytes = field(default=b"", repr=False)
    ending_sequence: int = 0
    ending_path: tuple[bytes, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Its JSON object; entries in base64."""
        return {
            "size": self.size,
            "root": hex_text(self.root),
            "entry": binascii.b2a_base64(self.entry, newline=False).decode(),
            "promised": [hex_text(node) for node in self.promised],
            "path": [hex_text(node) for node in self.path],
            "ending": binascii.b2a_base64(self.ending, newline=False).decode(),
            "ending_sequence": self.ending_sequence,
            "ending_path": [hex_text(node) for node in self.ending_path],
        }

    @staticmethod
    def from_json(value: object) -> Evidence:
        """The evidence of such an object, with exactly its keys; not checked yet. Raises DecodeError."""
        fields = Fields(value, "evidence", _EVIDENCE_NAMES)
        return Evidence(
            size=fields.uint("size", low=1),
            root=fields.octets("root", 32),
            entry=fields.base64("entry"),
            promised=_path(fields, "promised"),
            path=_path(fields, "path"),
            ending=fields.base64("ending"),
            ending_sequence=fields.uint("ending_sequence"),
            ending_path=_path(fields, "ending_path"),
        )


_EVIDENCE_NAMES: Final = (
    "size",
    "root",
    "entry",
    "promised",
    "path",
    "ending",
    "ending_sequence",
    "ending_path",
)


def _path(fields: Fields, name: str) -> tuple[bytes, ...]:
    return tuple(read_hex(node, f"{name}[{i}]", 32) for i, node in enumerate(fields.array(name, MAX_PATH)))


def check_inclusion(
    receipt: Receipt,
    evidence: Evidence,
    sealed: SealedListView | None,
    terms: Terms,
    tenures: Tenures,
    operator: Address,
) -> str:
    """What became of the order, in a sentence. `sealed`: the first list after the receipt, if there is one.

    Steps:
    1. the operator signed the receipt, and it is for an order of this market;
    2. the log under the receipt's root has the order at the place promised, and so has the later log;
    3. the list is of the round promised or the next, it has the order, and it is the members'; or
    4. the later log has an entry after the order's that ends it for a reason that holds.

    Raises PeerFault naming what does not hold: with the receipt that is evidence against the operator. Raises
    ConfigError for a receipt of something else, DecodeError for entries that are none.
    """
    # 1
    if receipt.kind not in {Kind.ORDER, Kind.REPLACE} or receipt.market != terms.market.id:
        raise ConfigError("receipt: it is not for an order of this market", "check it against its market")
    receipt.check(terms.domain, operator)
    # 2
    statement = _promised(receipt, evidence)
    ending = _ending(receipt, evidence)
    # 3
    if sealed is not None:
        if sealed.market != receipt.market or sealed.round not in {receipt.round, receipt.round + 1}:
            raise ConfigError(
                f"sealed list: of round {sealed.round}", f"give that of round {receipt.round} or the next"
            )
        if receipt.subject in sealed.hashes:
            place = sealed.hashes.index(receipt.subject) + 1
            said = f"sealed in round {sealed.round}, order {place} of {len(sealed.leaves)}"
            return said + _end_of_round(sealed, ending, terms, tenures)
        sealed.check(terms.domain, tenures.at(sealed.sealed_at).signers)
        if ending is None:
            raise PeerFault(
                f"receipt: round {sealed.round} was sealed without the order, for no reason", peer=_OPERATOR
            )
    # 4
    if ending is None:
        return f"in the log as entry {receipt.sequence}, and still to be sealed"
    return f"{_reason(ending, statement, terms, tenures)}, entry {evidence.ending_sequence}"


def _end_of_round(sealed: SealedListView, ending: Message | None, terms: Terms, tenures: Tenures) -> str:
    """How the round with the order went, if not to a result. Raises PeerFault."""
    signers = tenures.at(sealed.sealed_at).signers
    sealed.check_leaves()
    if sealed.signatures:
        sealed.check(terms.domain, signers)
        return ""
    if ending is None:
        return "; the members' signatures follow with its end"
    if ending.op == "abort":
        signatures = [Signature(blob) for blob in ending.blobs]
        try:
            check_abandoned(sealed.digest(terms.domain), terms.domain, signatures, signers)
        except OrderRefused as error:
            raise PeerFault(f"abort of round {sealed.round}: {error}", peer=_OPERATOR) from None
        return ", which was aborted"
    if ending.op == "chain" and ending.integer("at") > sealed.sealed_at + terms.settle_window:
        return ", which had no result within its settle window"
    raise PeerFault(f"round {sealed.round}: it ended without the members' signatures", peer=_OPERATOR)


def _ending(receipt: Receipt, evidence: Evidence) -> Message | None:
    """The entry that ended the order, if one did. Raises PeerFault unless it is where it is said to be."""
    if not evidence.ending:
        return None
    sequence = evidence.ending_sequence
    if sequence <= receipt.sequence:
        raise PeerFault("receipt: the reason given came before the order", peer=_OPERATOR)
    _check_place(evidence.ending, sequence, evidence.size, evidence.ending_path, evidence.root)
    return Message.decode(evidence.ending)


def _promised(receipt: Receipt, evidence: Evidence) -> Statement:
    _check_place(evidence.entry, receipt.sequence, receipt.size, evidence.promised, receipt.root)
    _check_place(evidence.entry, receipt.sequence, evidence.size, evidence.path, evidence.root)
    entry = Message.decode(evidence.entry)
    expected = "order" if receipt.kind is Kind.ORDER else "replace"
    if entry.op != expected or len(entry.blobs) != 1 or order_hash(entry.blobs[0]) != receipt.subject:
        raise PeerFault(f"receipt: entry {receipt.sequence} is not the order", peer=_OPERATOR)
    return Statement.read(Reader(entry.blobs[0]))


def _check_place(entry: bytes, sequence: int, size: int, path: tuple[bytes, ...], root: bytes) -> None:
    try:
        merkle.verify_entry(entry, sequence, size, path, root)
    except VerificationError as error:
        raise PeerFault(f"log: entry {sequence} of {size}: {error}", peer=_OPERATOR) from None


def _reason(entry: Message, order: Statement, terms: Terms, tenures: Tenures) -> str:
    """Why the entry ends the order. Raises PeerFault if it does not."""
    try:
        if entry.op in {"cancel", "cancel_all", "replace"}:
            return _wished(entry, order, terms)
        if entry.op == "chain":
            asked = {"withdrawal_requested", "cancel_requested"}
            events = read_events(entry, len(terms.tokens))
            if any(e.kind in asked and e.account == order.account for e in events):
                return "released, because the account asked on chain to leave or to burn nonces"
        elif entry.op == "market":
            if read_terms(entry, tenures.key(order.key_id)).hash != order.terms_hash:
                return "released, because the market has new terms"
        elif entry.op == OP:
            if entry.encode() in tenures.entries and read_tenure(entry).key.key_id != order.key_id:
                return "released, because the committee has a new key"
        elif entry.octets("market", 32) == order.market and (reason := _of_market(entry, order)):
            return reason
    except (CommitmentsError, DarkpoolError) as error:
        raise PeerFault(f"receipt: the reason given does not hold: {error}", peer=_OPERATOR) from None
    raise PeerFault(f"receipt: a {entry.op[:16]} entry is no reason to end the order", peer=_OPERATOR)


def _of_market(entry: Message, order: Statement) -> str:
    """Why an entry of its own market ends the order; empty if it does not."""
    if entry.op == "seal" and 0 < order.valid_until <= entry.integer("time"):
        return f"expired at {order.valid_until}"
    names = entry.fields.get("orders")
    if entry.op == "release" and isinstance(names, list) and [order.account.hex(), order.nonce] in names:
        return f"released by the operator: {entry.text('reason', MAX_SOURCE)}"
    once = order.time_in_force == TimeInForce.ROUND
    if entry.op == "open" and once and entry.integer("round") > order.first_round:
        return f"expired with its round {order.first_round}"
    return ""


def _wished(entry: Message, order: Statement, terms: Terms) -> str:
    account, signature = Address(order.account), entry.octets("signature", eip712.SIGNATURE_BYTES)
    if entry.op == "cancel_all":
        below = Nonce(entry.integer("below", order.nonce + 1))
        digest = cancel_all_digest(terms, account, below)
    else:
        digest = cancel_digest(terms, account, Nonce(order.nonce))
    eip712.check_signer(digest, signature, account)
    return "replaced" if entry.op == "replace" else "cancelled by its account"
