"""How many members must vouch for the end of a list, and whose word counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from darkpool import certificates, eip712
from darkpool.errors import OrderRefused
from darkpool.netting import Signers
from darkpool.types import Address, PrivateKey, RoundId, Signature
from darkpool.windows import Cleared

DOMAIN = eip712.Domain(7, Address(b"\x07" * 20))
OTHER = eip712.Domain(8, Address(b"\x07" * 20))
SEALED = bytes(range(32))
CLEARED = Cleared(bytes(32), RoundId(1), 6, 5, 605, SEALED, bytes(32), (), (), ())
RESULT = certificates.result_digest(DOMAIN, SEALED, CLEARED)
NO_CROSS = certificates.result_digest(DOMAIN, SEALED, None)
KEYS = [PrivateKey(bytes([i]) * 32) for i in range(1, 10)]
STRANGER = PrivateKey(b"\xaa" * 32)

Check = Callable[[Sequence[Signature], Signers], object]
CHECKS: dict[str, tuple[Check, bytes]] = {
    "cleared": (
        lambda signatures, signers: certificates.check_result(RESULT, signatures, signers),
        RESULT,
    ),
    "no cross": (
        lambda signatures, signers: certificates.check_result(NO_CROSS, signatures, signers),
        NO_CROSS,
    ),
    "abandoned": (
        lambda signatures, signers: certificates.check_abandoned(SEALED, DOMAIN, signatures, signers),
        certificates.abandon_digest(DOMAIN, SEALED),
    ),
}


def committee(n: int, t: int) -> Signers:
    return Signers(t, {i: eip712.address_of(key) for i, key in enumerate(KEYS[:n], 1)})


def signed(digest: bytes, keys: Sequence[PrivateKey]) -> list[Signature]:
    return [eip712.sign_digest(digest, key) for key in keys]


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("n, t", [(3, 1), (4, 1), (5, 1), (5, 2), (7, 3), (9, 2)])
def test_thresholds(kind: str, n: int, t: int) -> None:
    check, digest = CHECKS[kind]
    needed = n - t if kind == "abandoned" else 2 * t + 1
    signatures = signed(digest, KEYS[:n])
    for count in range(n + 1):
        if count < needed:
            with pytest.raises(OrderRefused):
                check(signatures[n - count :], committee(n, t))
        else:
            check(signatures[n - count :], committee(n, t))


@pytest.mark.parametrize("n, t", [(3, 1), (4, 1), (5, 1), (5, 2), (7, 3), (9, 2)])
def test_no_list_can_have_both_ends(n: int, t: int) -> None:
    """Members that abandoned sign no result; t liars may do both, and still neither end adds up."""
    honest_that_abandoned = n - t - t  # the fewest
    may_sign_a_result = n - honest_that_abandoned
    assert may_sign_a_result < 2 * t + 1


# Of three signatures of members over the right digest, and of others' digests: what comes of them.
BAD: dict[str, Callable[[list[Signature], bytes, list[bytes]], list[Signature]]] = {
    "one twice": lambda good, _d, _o: [good[0], good[0], good[0]],
    "a stranger": lambda good, digest, _o: [*good[:2], *signed(digest, [STRANGER])],
    "a stranger besides": lambda good, digest, _o: [*good, *signed(digest, [STRANGER])],
    "of another kind": lambda good, _d, others: [*good[:2], *signed(others[0], KEYS[2:3])],
    "of yet another kind": lambda good, _d, others: [*good[:2], *signed(others[1], KEYS[2:3])],
    "of another list": lambda good, _d, _o: [*good[:2], *signed(bytes(32), KEYS[2:3])],
    "cut": lambda good, _d, _o: [*good[:2], Signature(good[2][:-1])],
    "empty": lambda good, _d, _o: [*good[:2], Signature(b"")],
    "zero": lambda good, _d, _o: [*good[:2], Signature(bytes(65))],
    "none": lambda _g, _d, _o: [],
}


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("name", BAD)
def test_what_is_not_a_members_own_word_does_not_count(kind: str, name: str) -> None:
    check, digest = CHECKS[kind]
    signers, good = committee(4, 1), signed(digest, KEYS[:3])
    others = [d for other, (_, d) in CHECKS.items() if other != kind]
    with pytest.raises(OrderRefused):
        check(BAD[name](good, digest, others), signers)
    check(good, signers)
    check(good[::-1], signers)


@pytest.mark.parametrize("kind", ["cleared", "no cross", "abandoned"])
def test_a_word_is_for_one_vault_and_one_list(kind: str) -> None:
    make = {
        "cleared": lambda domain, sealed: certificates.result_digest(domain, sealed, CLEARED),
        "no cross": certificates.no_cross_digest,
        "abandoned": certificates.abandon_digest,
    }[kind]
    digests = {make(domain, sealed) for domain in (DOMAIN, OTHER) for sealed in (SEALED, bytes(32))}
    digests |= {RESULT, NO_CROSS, certificates.abandon_digest(DOMAIN, SEALED)}
    assert len(digests) == 6
