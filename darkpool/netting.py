"""What a round's result says to the chain, and what to each account.

The chain learns nullifiers and net deltas (windows.py) and a hash of the rest. Each account's bought and sold
totals travel as Shamir shares, sealed by every member to the key in the account's latest order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from commitments import sealing
from commitments.encoding import Reader, Writer
from commitments.errors import CommitmentsError
from commitments.params import FIELD_PRIME, INTEGER_BITS
from commitments.shamir import reconstruct
from darkpool.eip712 import SIGNATURE_BYTES, Domain, check_signer, digest, keccak256, sign_digest, word
from darkpool.errors import PeerFault
from darkpool.listing import RoundResult, SealedList
from darkpool.market import Side
from darkpool.order import Terms
from darkpool.types import Address, Lots, PrivateKey, TokenIndex

_BOX_LABEL: Final = b"darkpool/v1/account-totals"
_SHARE_BYTES: Final = 16

BOX_BYTES: Final = sealing.BOX_OVERHEAD + 2 * _SHARE_BYTES + SIGNATURE_BYTES
"""Of every box of sealed totals."""


def token_index(terms: Terms, token: Address) -> TokenIndex:
    """The token's place in the vault's list."""
    return TokenIndex(terms.tokens.index(token))


def transcript_words(terms: Terms, sealed: SealedList, result: RoundResult) -> tuple[int | bytes, ...]:
    """A round as a contract reads it, in thirteen words.

    Market, round, sealing time, root, orders, price, p_0, tick, lot, volume, base and quote token index, root
    of the audit log. Price, p_0 and tick in quote quanta per lot, lot in base quanta, volume in lots.
    """
    market = terms.market
    return (
        market.id,
        sealed.round,
        sealed.sealed_at,
        sealed.root,
        len(sealed.orders),
        market.grid.price(result.price),
        market.grid.p_0,
        market.grid.tick,
        market.lot,
        result.volume,
        token_index(terms, market.base),
        token_index(terms, market.quote),
        sealed.audit_root,
    )


def transcript_hash(terms: Terms, sealed: SealedList, result: RoundResult) -> bytes:
    """keccak256 of the `transcript_words` as ABI words. A contract can recompute it."""
    return keccak256(b"".join(map(word, transcript_words(terms, sealed, result))))


@dataclass(frozen=True, slots=True)
class Totals:
    """What an account bought and sold in a round, in lots. Known to the account alone."""

    bought: Lots = field(repr=False)
    sold: Lots = field(repr=False)

    def check_net(self, net: int) -> None:
        """Raises PeerFault unless bought - sold is the public net."""
        if self.bought - self.sold != net:
            raise PeerFault("the totals sealed to this account contradict its public net", peer="committee")

    def check_assigned(self, side: Side, left: int) -> None:
        """Raises PeerFault if a total exceeds what the account's own orders could trade."""
        if left:
            raise PeerFault(
                f"the {side.name.lower()} total sealed to this account exceeds its eligible orders",
                peer="committee",
            )


@dataclass(frozen=True, slots=True)
class Signers:
    """The committee as accounts know it: its threshold, and each member's signing address by index."""

    threshold: int
    addresses: Mapping[int, Address]


def _aad(seal_digest: bytes, account: Address) -> bytes:
    return bytes(Writer().fixed(seal_digest, 32).fixed(account, 20))


def _totals_digest(domain: Domain, seal_digest: bytes, account: Address, bought: int, sold: int) -> bytes:
    encoded_type = "AccountTotals(bytes32 sealed,address account,uint256 bought,uint256 sold)"
    return digest(domain, encoded_type, (seal_digest, account, bought, sold))


def seal_totals(
    signing_key: PrivateKey,
    domain: Domain,
    fill_key: bytes,
    seal_digest: bytes,
    account: Address,
    shares: tuple[int, int],
) -> bytes:
    """A member's shares of (bought, sold), signed, for the account's eyes. Constant length."""
    bought, sold = shares
    signature = sign_digest(_totals_digest(domain, seal_digest, account, bought, sold), signing_key)
    writer = Writer().uint(bought, _SHARE_BYTES).uint(sold, _SHARE_BYTES).fixed(signature, SIGNATURE_BYTES)
    return sealing.box_seal(fill_key, bytes(writer), _BOX_LABEL, _aad(seal_digest, account))


def open_totals(
    committee: Signers,
    domain: Domain,
    key: sealing.BoxKey,
    boxes: Mapping[int, bytes],
    seal_digest: bytes,
    account: Address,
) -> Totals:
    """The totals behind the boxes of at least 2t+1 members, so that t false shares cannot go unseen.

    Raises PeerFault if there are too few, any box is bad or not its member's, or the shares disagree.
    """
    needed = 2 * committee.threshold + 1
    if len(boxes) < needed:
        raise PeerFault(f"sealed totals: {len(boxes)}/{needed} boxes", peer="committee")
    bought, sold = {}, {}
    for index, box in boxes.items():
        try:
            reader = Reader(sealing.box_open(key, box, _BOX_LABEL, _aad(seal_digest, account)))
            bought[index] = reader.uint("totals.bought", _SHARE_BYTES, FIELD_PRIME - 1)
            sold[index] = reader.uint("totals.sold", _SHARE_BYTES, FIELD_PRIME - 1)
            signature = reader.fixed("totals.signature", SIGNATURE_BYTES)
            reader.end("totals")
            signed = _totals_digest(domain, seal_digest, account, bought[index], sold[index])
            check_signer(signed, signature, committee.addresses[index])
        except (CommitmentsError, KeyError) as error:
            raise PeerFault(f"sealed totals: {error}", peer=f"member {index}") from None
    members = len(committee.addresses)
    try:
        values = [reconstruct(shares, members, committee.threshold) for shares in (bought, sold)]
    except CommitmentsError as error:
        raise PeerFault(f"sealed totals: {error}", peer="committee") from None
    if any(v >> INTEGER_BITS for v in values):
        raise PeerFault("sealed totals are out of range", peer="committee")
    return Totals(Lots(values[0]), Lots(values[1]))
