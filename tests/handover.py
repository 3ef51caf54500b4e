"""A committee that proposes itself with another guardian."""

from __future__ import annotations

from collections.abc import Sequence

from darkpool.chain import Chain
from darkpool.committee.seat import Seat
from darkpool.eip712 import sign_digest
from darkpool.settlement import committee_digest
from darkpool.types import Address, PrivateKey


def propose(chain: Chain, seats: Sequence[Seat], sender: PrivateKey, guardian: Address) -> int:
    """When it is ready, unix seconds by the chain's clock."""
    members, threshold = chain.members(), (chain.quorum() - 1) // 2
    digest = committee_digest(chain.last_epoch() + 1, members, threshold, guardian, chain.domain())
    signed = [sign_digest(digest, seat.signing_key) for seat in sorted(seats, key=lambda seat: seat.signer)]
    chain.propose_committee(sender, members, threshold, guardian, signed)
    return chain.proposal().ready_at
