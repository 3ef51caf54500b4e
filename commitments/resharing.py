"""Sharing anew without a dealer who knows the key: refreshed shares, and shares for a member's successor.

One verified dealing serves both. Dealer i takes an integer polynomial g_i of degree t, publishes for its
coefficients C_k = V^(c_k) and hands g_i(j) to each member j of the committee to be, who checks (Feldman 1987)

    V^(g_i(j)) = prod_k C_k^(j^k)   in QR_N.

    refresh      all n members deal c_0 = 0 (C_0 = 1):      s'_j = s_j + sum_i g_i(j)
    replacement  a set B of t+1 members that stay deals     s'_j = sum_{i in B} g_i(j)
                 c_0 = lambda_i s_i (C_0 = V_i^lambda_i):

lambda_i are Lagrange's coefficients at 0 of B times Delta, hence integers: a replacement multiplies F(0) by
Delta, which `Committee.scale` counts and `combine` takes out again. N, and orders sealed to it, stay. The new
verification values V'_j, of refreshes V_j prod_i prod_k C_ik^(j^k), are everybody's to compute.

**What t members learn.** With threshold.py's D prod_{j in T} (1 - x/j): two secrets D apart, D a multiple of
Delta^2, are told apart by nothing the members of T held before the change or after, if every coefficient of
an honest dealing may move by (t+1) |D| twice (refresh) or by (t+1) |lambda_i h(i)| < (t+1) Delta n^(2t) |D|
(replacement, where c_0 moves by lambda_i h(i), itself a multiple of Delta). Coefficients are uniform in a
range 2^80 t times as wide (`Committee.coefficient_bits`), so a dealing is within 2^-80 of saying nothing but
V^(c_0), if one dealer is honest. Members corrupted while a change runs count before and after it. A
replacement adds n largest |c_0| to c_1, so that honest sub-shares are not negative.

**What t members can do.** A wrong dealing is noticed by whoever got a wrong sub-share, and names its dealer.
Commitments are fixed by the sub-shares of t+1 honest members, up to a sign that no verification uses
(share_proof.py). Old and new shares do not combine. Members must erase old ones: t+1 of one epoch still open
everything sealed to N, for ever.

Frankel, Gemmell, MacKenzie, Yung 1997, "Optimal-resilience proactive public-key cryptosystems"; Rabin 1998.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import gmpy2
from gmpy2 import mpz

from commitments.encoding import Reader
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.threshold import Committee, KeyShare, check_share, decode_residue, lagrange_at_zero


@dataclass(frozen=True, slots=True)
class Change:
    """From a committee to its next epoch: a refresh, or with `replaced` (indices, ascending) a replacement.

    `dealers` ascend: all members for a refresh, for a replacement t+1 that are not replaced. Raises
    ParameterError for any others, and when a new key is due.
    """

    committee: Committee
    replaced: tuple[int, ...]
    dealers: tuple[int, ...]

    def __post_init__(self) -> None:
        indices, needed = self.committee.indices, self.committee.threshold + 1
        staying = [i for i in indices if i not in self.replaced]
        if list(self.replaced) != [i for i in indices if i in self.replaced]:
            raise ParameterError(f"replaced {self.replaced}: not ascending members of {len(indices)}")
        allowed = [i for i in staying if i in self.dealers]
        if list(self.dealers) != allowed or len(allowed) != (needed if self.replaced else len(indices)):
            raise ParameterError(
                f"dealers {self.dealers}: {needed} that stay deal for a replacement, all for a refresh"
            )
        self.committee.value(1)
        self.template  # noqa: B018 - refuses an epoch beyond the last

    @property
    def template(self) -> Committee:
        """The committee after the change, without its verification values."""
        scale = self.committee.scale + bool(self.replaced)
        return replace(self.committee, values=(), epoch=self.committee.epoch + 1, scale=scale)

    @property
    def shift(self) -> int:
        """Added to c_1: n times the largest |lambda_i s_i|, or nothing in a refresh."""
        return self.committee.largest_lambda * self.committee.share_bound if self.replaced else 0

    @property
    def sub_share_bound(self) -> int:
        """Above every honest sub-share."""
        return (self.committee.members + 1) * self.shift + self.template.dealing_bound

    @property
    def sub_share_bytes(self) -> int:
        """Width of an encoded sub-share."""
        return -(-self.sub_share_bound.bit_length() // 8)

    def factor(self, dealer: int) -> int:
        """lambda_i of the dealers, or 0 in a refresh: c_0 is that multiple of the dealer's share."""
        return lagrange_at_zero(self.committee.delta, self.dealers, dealer) if self.replaced else 0


@dataclass(frozen=True, slots=True)
class Dealing:
    """What a dealer publishes: C_0 .. C_t."""

    dealer: int
    commitments: tuple[mpz, ...] = field(repr=False)

    def encode(self, committee: Committee) -> bytes:
        """(t+1) residues of the modulus's width."""
        width = committee.key.modulus_bytes
        return b"".join(int(c).to_bytes(width, "big") for c in self.commitments)

    @staticmethod
    def decode(data: bytes, dealer: int, change: Change) -> Dealing:
        """The dealer's commitments, checked (`check`). Raises DecodeError, VerificationError, naming it."""
        key, count = change.committee.key, change.committee.threshold + 1
        name = f"dealing of member {dealer}"
        if len(data) != count * key.modulus_bytes:
            raise DecodeError(name, f"{len(data)} bytes where {count * key.modulus_bytes} are due")
        reader = Reader(data)
        residues = (reader.fixed(name, key.modulus_bytes) for _ in range(count))
        dealing = Dealing(dealer, tuple(decode_residue(key, r, name) for r in residues))
        dealing.check(change)
        return dealing

    def check(self, change: Change) -> None:
        """What everybody can see: 1. a dealer, 2. of degree t, 3. units, 4. its constant is what it must be.

        Raises VerificationError naming the dealer.
        """
        committee, name = change.committee, f"dealing of member {self.dealer}"
        n = committee.key.n
        if self.dealer not in change.dealers:  # 1
            raise VerificationError(name, f"the dealers are {change.dealers}")
        if len(self.commitments) != committee.threshold + 1:  # 2
            count = len(self.commitments)
            raise VerificationError(name, f"{count} commitments where {committee.threshold + 1} are due")
        if not all(0 < c < n and gmpy2.gcd(c, n) == 1 for c in self.commitments):  # 3
            raise VerificationError(name, "a commitment is not a unit modulo N")
        due = gmpy2.powmod(committee.value(self.dealer), change.factor(self.dealer), n)
        if self.commitments[0] != due:  # 4
            raise VerificationError(name, "its constant is not the one due")

    def value(self, change: Change, index: int) -> mpz:
        """prod C_k^(j^k) for j = `index`."""
        n, total = change.committee.key.n, mpz(1)
        for c in reversed(self.commitments):
            total = gmpy2.powmod(total, index, n) * c % n
        return total

    def check_sub_share(self, change: Change, index: int, sub_share: int) -> None:
        """What the receiver sees. Raises VerificationError naming the dealer."""
        name = f"dealing of member {self.dealer}"
        if not 0 <= sub_share < change.sub_share_bound:
            bits = change.sub_share_bound.bit_length()
            raise VerificationError(name, f"the sub-share of member {index} is outside 0 to {bits} bits")
        n = change.committee.key.n
        if gmpy2.powmod(change.committee.base, sub_share, n) != self.value(change, index):
            raise VerificationError(name, f"the sub-share of member {index} is not on its polynomial")


def deal(change: Change, share: KeyShare) -> tuple[Dealing, dict[int, int]]:
    """Dealer `share.index`'s dealing, and the sub-share of every member, its own among them. Secret.

    Raises VerificationError if the share is not the one the committee knows, ParameterError if it does not
    deal.
    """
    committee, after = change.committee, change.template
    if share.index not in change.dealers:
        raise ParameterError(f"member {share.index} deals not; the dealers are {change.dealers}")
    check_share(committee, share)
    random = [secrets.randbits(after.coefficient_bits) for _ in range(committee.threshold)]
    random[0] += change.shift
    polynomial = [change.factor(share.index) * share.value, *random]
    n = committee.key.n
    dealing = Dealing(share.index, tuple(gmpy2.powmod(committee.base, c, n) for c in polynomial))
    return dealing, {j: sum(c * j**k for k, c in enumerate(polynomial)) for j in committee.indices}


def next_committee(change: Change, dealings: Sequence[Dealing]) -> Committee:
    """The public state after the change, from the checked dealings of all dealers. Raises ParameterError."""
    _all_dealt(change, [d.dealer for d in dealings])
    n, committee = change.committee.key.n, change.committee
    values = []
    for j in committee.indices:
        value = mpz(1) if change.replaced else committee.value(j)
        for dealing in dealings:
            value = value * dealing.value(change, j) % n
        values.append(value)
    return replace(change.template, values=tuple(values))


def next_share(change: Change, index: int, sub_shares: Mapping[int, int], old: KeyShare | None) -> KeyShare:
    """Member `index`'s share after the change, from its checked sub-shares by dealer.

    `old` is its share before, which only a refresh needs. Raises ParameterError.
    """
    _all_dealt(change, sub_shares)
    if change.replaced:
        return KeyShare(index, sum(sub_shares.values()))
    if old is None or old.index != index:
        raise ParameterError(f"member {index} has no share to refresh")
    return KeyShare(index, old.value + sum(sub_shares.values()))


def _all_dealt(change: Change, dealers: Sequence[int] | Mapping[int, int]) -> None:
    if sorted(dealers) != list(change.dealers):
        raise ParameterError(f"dealings of members {sorted(dealers)} where {change.dealers} deal")
