"""Blocks, the kill switch: what the operator stopped, whatever the policy says, until it lifts the block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from compliance.credentials import Claim
from compliance.policy_lists import country, is_code
from darkpool.errors import ConfigError, OrderRefused
from darkpool.store.records import BlockRow
from darkpool.types import Address, address_hex, parse_address

MAX_REASON: Final = 200
MAX_BLOCKS: Final = 10_000


class BlockKind(StrEnum):
    """What a block stops."""

    MARKET = "market"
    JURISDICTION = "jurisdiction"
    ACCOUNT = "account"
    ISSUER = "issuer"


@dataclass(frozen=True, slots=True)
class Block:
    """No new orders from there, and none that stand. at: unix seconds; actor: who did it.

    subject: name of a market, ISO 3166 code (a country's is its subdivisions' too), or an address.
    """

    kind: BlockKind
    subject: str
    reason: str
    actor: str
    at: int

    @property
    def row(self) -> BlockRow:
        """As the database has it."""
        return BlockRow(self.kind.value, self.subject, self.reason, self.actor, self.at)

    @staticmethod
    def of(row: BlockRow) -> Block:
        """Of a row."""
        return Block(BlockKind(row.kind), row.subject, row.reason, row.actor, row.at)


def subject_of(kind: str, subject: str, markets: Iterable[str]) -> tuple[BlockKind, str]:
    """What a block is about, in the one way it is written. `markets`: the venue's.

    Raises OrderRefused of code bad-block naming what there is not.
    """
    if kind not in set(BlockKind):
        raise _bad("kind", f"not one of {', '.join(BlockKind)}")
    found = BlockKind(kind)
    if found is BlockKind.MARKET:
        if subject not in (known := list(markets)):
            raise _bad("subject", f"not a market: {', '.join(known)}")
        return found, subject
    if found is BlockKind.JURISDICTION:
        if not is_code(subject):
            raise _bad("subject", "not an ISO 3166 code like US or US-NY")
        return found, subject
    try:
        return found, address_hex(parse_address(subject))
    except ConfigError:
        raise _bad("subject", "not 0x and 40 hexadecimal digits (mixed case: checksum)") from None


def _bad(field: str, problem: str) -> OrderRefused:
    return OrderRefused(f"{field}: {problem}", "correct it", "bad-block")


class Blocks:
    """The blocks there are, by what they stop."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self._blocks = {(block.kind, block.subject): block for block in blocks}

    def __iter__(self) -> Iterator[Block]:
        """Each, by kind and subject."""
        return iter(sorted(self._blocks.values(), key=lambda block: (block.kind, block.subject)))

    def with_(self, block: Block) -> Blocks:
        """These and another one. Raises OrderRefused if they would be too many."""
        found = Blocks([*self._blocks.values(), block])
        if len(found._blocks) > MAX_BLOCKS:
            raise _bad("blocks", f"more than {MAX_BLOCKS}")
        return found

    def without(self, kind: BlockKind, subject: str) -> Blocks:
        """These but that. Raises OrderRefused of code block-unknown if there is none."""
        if (kind, subject) not in self._blocks:
            raise OrderRefused(f"block: no {kind} {subject} is blocked", "list the blocks", "block-unknown")
        return Blocks(block for key, block in self._blocks.items() if key != (kind, subject))

    def stopping(self, market: str, account: Address, claim: Claim | None) -> Block | None:
        """The block that stops an account in a market, if one does; `claim`: what its credential states."""
        keys = [(BlockKind.MARKET, market), (BlockKind.ACCOUNT, address_hex(account))]
        if claim is not None:
            keys.append((BlockKind.ISSUER, address_hex(claim.issuer)))
            places = (claim.jurisdiction, country(claim.jurisdiction))
            keys += [(BlockKind.JURISDICTION, place) for place in places]
        return next((self._blocks[key] for key in keys if key in self._blocks), None)
