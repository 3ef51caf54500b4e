"""Receipts and places in the log, as the API answers them."""

from __future__ import annotations

from dataclasses import dataclass

from api.parameters import AddressText, HashText, HexText, Uint
from darkpool.receipt import Kind, Receipt


@dataclass(frozen=True, slots=True)
class ReceiptView:
    """The operator's receipt (darkpool/receipt.py), with exactly its keys."""

    kind: Kind
    subject: HashText
    market: HashText
    account: AddressText
    sequence: Uint
    size: Uint
    root: HashText
    round: Uint
    time: Uint
    policy: HashText
    signature: HexText

    @staticmethod
    def of(receipt: Receipt) -> ReceiptView:
        """Of a signed receipt."""
        return ReceiptView(**{**receipt.as_json(), "kind": receipt.kind})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A receipt given before, and the path from its entry to its root."""

    receipt: ReceiptView
    path: list[HashText]


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """darkpool/inclusion.py, with exactly its keys; entries in base64."""

    size: Uint
    root: HashText
    entry: str
    promised: list[HashText]
    path: list[HashText]
    ending: str
    ending_sequence: Uint
    ending_path: list[HashText]


@dataclass(frozen=True, slots=True)
class LogHead:
    """Number of entries of the venue's log and their tree hash (RFC 9162)."""

    size: Uint
    root: HashText


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The path from a log entry to the root over the first `size` entries."""

    sequence: Uint
    size: Uint
    root: HashText
    path: list[HashText]
