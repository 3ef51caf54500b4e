"""A contest's public part as a file, so that it can be made with the venue switched off.

JSON: the words of the settlement's rounds, and the places of the account's orders in their lists. It checks
itself: what does not hash to what was settled makes no case.
"""

from __future__ import annotations

import json
from typing import Any, Final

from commitments.errors import CommitmentsError, DecodeError
from darkpool import jsontext
from darkpool.contest import Case, Listed, SettledRecord
from darkpool.entitlement import WORDS, RoundWords
from darkpool.jsonfields import Fields, hex_text, read_hex
from darkpool.windows import MAX_ROUNDS

MAX_BYTES: Final = 1 << 20
_MAX_LISTED: Final = 1 << 13
_MAX_PATH: Final = 16
_VERSION: Final = 1


def encoded(case: Case) -> bytes:
    """The file's bytes."""
    document: dict[str, Any] = {
        "version": _VERSION,
        "rounds": [
            [hex_text(w.to_bytes(32)) for w in words.words] for _, words in sorted(case.rounds.items())
        ],
        "listed": [
            {
                "nonce": at.nonce,
                "hash": hex_text(at.hash),
                "round": at.round,
                "index": at.index,
                "path": [hex_text(node) for node in at.path],
            }
            for at in case.listed
        ],
    }
    return json.dumps(document, indent=1).encode()


def decoded(data: bytes, record: SettledRecord) -> Case:
    """The case of a file against that settlement. Raises DecodeError."""
    if len(data) > MAX_BYTES:
        raise DecodeError("case", f"above {MAX_BYTES} bytes")
    fields = Fields(jsontext.parsed(data, "case"), "case", ("version", "rounds", "listed"))
    fields.uint("version", _VERSION, _VERSION)
    rounds = [_words(row) for row in fields.array("rounds", MAX_ROUNDS)]
    listed = [_listed(row, len(rounds)) for row in fields.array("listed", _MAX_LISTED)]
    return Case.of(record, rounds, listed)


def _words(row: object) -> RoundWords:
    values = Fields({"words": row}, "rounds", ("words",)).array("words", WORDS)
    try:
        return RoundWords(tuple(int.from_bytes(read_hex(w, "rounds", 32)) for w in values))
    except CommitmentsError as error:
        raise DecodeError("rounds", str(error)) from None


def _listed(row: object, rounds: int) -> Listed:
    at = Fields(row, "listed", ("nonce", "hash", "round", "index", "path"))
    return Listed(
        at.uint("nonce"),
        at.octets("hash", 32),
        at.uint("round", max(rounds - 1, 0)),
        at.uint("index", (1 << 16) - 1),
        tuple(read_hex(node, "path", 32) for node in at.array("path", _MAX_PATH)),
    )
