"""How members vouch for the end of a sealed round, so that whoever missed it need trust no one party.

    cleared    2t+1 signatures of Cleared(sealed, transcript, deltas, nullifiers): see windows.py
    no cross   2t+1 signatures of NoCross(sealed)
    abandoned  n-t signatures of Abandon(sealed): each signer promises never to sign a result of that list.
               At most t of them lie, so at least n-2t never will: at most 2t signatures of a result can ever
               meet, and a result needs 2t+1.

`sealed` is the digest every member signed for the list. EIP-712, domain of the vault.
"""

from __future__ import annotations

from collections.abc import Iterable

from commitments.errors import VerificationError
from darkpool import eip712
from darkpool.errors import OrderRefused
from darkpool.netting import Signers
from darkpool.types import Signature
from darkpool.windows import Cleared


def no_cross_digest(domain: eip712.Domain, sealed: bytes) -> bytes:
    """What a member signs when too little of the list crosses."""
    return eip712.digest(domain, "NoCross(bytes32 sealed)", (sealed,))


def abandon_digest(domain: eip712.Domain, sealed: bytes) -> bytes:
    """What a member signs that has signed no result of the list and never will."""
    return eip712.digest(domain, "Abandon(bytes32 sealed)", (sealed,))


def result_digest(domain: eip712.Domain, sealed: bytes, cleared: Cleared | None) -> bytes:
    """What a member signs for a result of the list; None: too little of it crosses."""
    return no_cross_digest(domain, sealed) if cleared is None else cleared.digest(domain, sealed)


def check_result(digest: bytes, signatures: Iterable[Signature], signers: Signers) -> None:
    """Raises OrderRefused unless 2t+1 members signed a `result_digest`."""
    _check(digest, signatures, signers, 2 * signers.threshold + 1)


def check_abandoned(
    sealed: bytes, domain: eip712.Domain, signatures: Iterable[Signature], signers: Signers
) -> None:
    """Raises OrderRefused unless n-t members signed."""
    _check(abandon_digest(domain, sealed), signatures, signers, len(signers.addresses) - signers.threshold)


def _check(digest: bytes, signatures: Iterable[Signature], signers: Signers, needed: int) -> None:
    members = set(signers.addresses.values())
    found = set()
    for signature in signatures:
        try:
            found.add(eip712.recover_digest(digest, signature))
        except VerificationError as error:
            raise OrderRefused(f"certificate: {error}", "collect the members' signatures") from None
    if found - members or len(found) < needed:
        raise OrderRefused(
            f"certificate: {len(found & members)}/{needed} members signed", "collect the members' signatures"
        )
