"""The venue's log, receipts for its entries, and proofs that they are in it."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Query

from api.parameters import HashPath, Number, NumberPath
from api.problems import refusals
from api.receipt_views import Inclusion, KeptReceipt, LogHead, ReceiptView
from api.venue import VenueOf
from darkpool.errors import OrderRefused
from darkpool.jsonfields import hex_text
from darkpool.receipt import Receipt

router = APIRouter(tags=["log"])


@router.get("/log", responses=refusals(parameters=False))
async def show_log(venue: VenueOf) -> LogHead:
    """How long the log is, and its root."""
    found = venue.status()
    return LogHead(found.log_size, hex_text(found.log_root))


@router.get("/log/{sequence}/inclusion", responses=refusals("entry-unknown", "database-away"))
async def show_inclusion(
    sequence: NumberPath,
    venue: VenueOf,
    size: Annotated[
        Number | None, Query(description="entries of the log proven against; all if left out")
    ] = None,
) -> Inclusion:
    """The Merkle path of an entry."""
    total = venue.status().log_size
    size = total if size is None else size
    if not sequence < size <= total:
        raise OrderRefused(
            f"log: entry {sequence} of {size}; it has {total}", "ask for sequence < size", "entry-unknown"
        )
    path, root = await venue.inclusion(sequence, size)
    return Inclusion(sequence, size, hex_text(root), [hex_text(node) for node in path])


@router.get("/receipts/{subject}", responses=refusals("receipt-unknown", "database-away"))
async def show_receipt(subject: HashPath, venue: VenueOf) -> KeptReceipt:
    """The receipt given for an order hash or a cancel digest, with the path from its entry to its root."""
    row = await venue.read(lambda store: store.receipt(subject))
    if row is None:
        raise OrderRefused(
            f"receipt: none was given for {hex_text(subject)}", "submit it first", "receipt-unknown"
        )
    receipt = Receipt.from_json(json.loads(row.payload))
    path, _ = await venue.inclusion(receipt.sequence, receipt.size)
    return KeptReceipt(ReceiptView.of(receipt), [hex_text(node) for node in path])
