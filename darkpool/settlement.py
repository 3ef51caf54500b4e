"""Settlements: what a round or several do to balances and nullifiers, and the committee's signatures on it.

The packed rows and the hash are those of `contracts/src/Vault.vy`:

    delta row      token << 248 | account << 88 | debit << 87 | magnitude
    nullifier row  (account << 96 | word, mask)
    digest         EIP-712, domain {name "darkpool", version "1", chainId, verifyingContract}, over
                   Settlement(uint256 id,uint256 epoch,uint256 sealedAt,bytes32 root,bytes32 transcript,
                   bytes32 deltas,bytes32 nullifiers), where deltas = keccak256(abi.encode(uint256[])) and
                   nullifiers = keccak256(abi.encode((uint256,uint256)[])) of the packed rows

A `Settlement` that exists is well formed; only its signatures, id, epoch and time are left to check.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from commitments.errors import VerificationError
from darkpool import eip712
from darkpool.eip712 import Domain, keccak256, sign_digest, word
from darkpool.errors import SettlementRefused
from darkpool.types import (
    ADDRESS_BYTES,
    Address,
    Nonce,
    PrivateKey,
    Quanta,
    Signature,
    TokenIndex,
    address_hex,
)

MAX_ROWS: Final = 512
"""Most delta rows, and most nullifier rows, of one settlement: what can be unwound in a transaction."""

MAX_TOKENS: Final = 8
MAX_MEMBERS: Final = 16
MAX_AMOUNT: Final = 2**64 - 1
"""Greatest magnitude of a delta, in quanta."""

MAX_COUNTER: Final = 2**64 - 1
"""Bound of ids, epochs and times."""

MAX_WORD: Final = 2**96 - 1
NONCES_PER_WORD: Final = 256

_WORD_BITS: Final = 256
_DEBIT: Final = 1 << 87
_SETTLEMENT_TYPE: Final = (
    "Settlement(uint256 id,uint256 epoch,uint256 sealedAt,bytes32 root,bytes32 transcript,"
    "bytes32 deltas,bytes32 nullifiers)"
)
_COMMITTEE_TYPE: Final = "Committee(uint256 epoch,bytes32 members,uint256 threshold,address guardian)"


@dataclass(frozen=True, slots=True)
class Delta:
    """The change of one account's balance of one token, in quanta; negative is a debit."""

    token: TokenIndex
    account: Address
    amount: Quanta

    def __post_init__(self) -> None:
        _check_range("delta token", self.token, 0, MAX_TOKENS - 1)
        _check_account("delta account", self.account)
        _check_range("delta amount, without sign,", abs(self.amount), 1, MAX_AMOUNT)

    @property
    def key(self) -> int:
        """token << 160 | account: rows ascend strictly by it."""
        return self.token << 160 | int.from_bytes(self.account)

    def packed(self) -> int:
        """The row as the contract takes it, below 2^256."""
        return self.key << 88 | (_DEBIT if self.amount < 0 else 0) | abs(self.amount)


@dataclass(frozen=True, slots=True)
class NullifierRow:
    """Order nonces of one account to be spent: bit i of `mask` is nonce 256 * word + i."""

    account: Address
    word: int
    mask: int

    def __post_init__(self) -> None:
        _check_account("nullifier account", self.account)
        _check_range("nullifier word", self.word, 0, MAX_WORD)
        _check_range("nullifier mask", self.mask, 1, 2**_WORD_BITS - 1)

    @property
    def key(self) -> int:
        """account << 96 | word: rows ascend strictly by it."""
        return int.from_bytes(self.account) << 96 | self.word

    def packed(self) -> tuple[int, int]:
        """The row as the contract takes it: two numbers below 2^256."""
        return self.key, self.mask


@dataclass(frozen=True, slots=True)
class Settlement:
    """One call of `settle`, well formed by construction.

    `id`          number of the settlement, from 1 without gaps
    `epoch`       number of the committee that signs
    `sealed_at`   unix seconds; the contract accepts it from then until its settle window has passed
    `root`        32 bytes: the sealed root, or for several rounds a hash of their roots
    `transcript`  32 bytes: hash of the rounds' transcript
    `deltas`      ascending by (token, account); every token's amounts sum to zero
    `nullifiers`  ascending by (account, word)

    Raises `SettlementRefused` naming the field and its limit.
    """

    id: int
    epoch: int
    sealed_at: int
    root: bytes
    transcript: bytes
    deltas: tuple[Delta, ...]
    nullifiers: tuple[NullifierRow, ...]

    def __post_init__(self) -> None:
        _check_range("id", self.id, 1, MAX_COUNTER)
        _check_range("epoch", self.epoch, 1, MAX_COUNTER)
        _check_range("sealed_at", self.sealed_at, 0, MAX_COUNTER)
        for name, value in (("root", self.root), ("transcript", self.transcript)):
            if len(value) != 32:  # noqa: PLR2004
                raise SettlementRefused(f"settlement {name}: {len(value)} bytes, not 32")
        check_rows(self.deltas, self.nullifiers)

    def packed(self) -> tuple[int, int, int, bytes, bytes, list[int], list[tuple[int, int]]]:
        """The argument of `settle` in the order of the contract's struct."""
        return (
            self.id,
            self.epoch,
            self.sealed_at,
            self.root,
            self.transcript,
            [row.packed() for row in self.deltas],
            [row.packed() for row in self.nullifiers],
        )


def check_rows(deltas: Sequence[Delta], nullifiers: Sequence[NullifierRow]) -> None:
    """Raises `SettlementRefused` unless rows ascend, are few enough, and every token sums to zero."""
    _check_ascending("delta", [row.key for row in deltas])
    _check_ascending("nullifier", [row.key for row in nullifiers])
    sums: dict[TokenIndex, int] = {}
    for row in deltas:
        sums[row.token] = sums.get(row.token, 0) + row.amount
    for token, total in sums.items():
        if total:
            raise SettlementRefused(f"settlement deltas: token {token} sums to {total} quanta, must be 0")


def delta_rows(nets: Mapping[tuple[TokenIndex, Address], int]) -> tuple[Delta, ...]:
    """Sorted rows of the net amounts, in quanta, by (token, account); zeros are left out."""
    rows = (Delta(token, account, Quanta(amount)) for (token, account), amount in nets.items() if amount)
    return tuple(sorted(rows, key=lambda row: row.key))


def nullifier_rows(spent: Iterable[tuple[Address, Nonce]]) -> tuple[NullifierRow, ...]:
    """Sorted rows that spend each (account, nonce). Raises `SettlementRefused` if one is given twice."""
    masks: dict[tuple[Address, int], int] = {}
    for account, nonce in spent:
        if nonce < 0:
            raise SettlementRefused(f"nonce {nonce} of {address_hex(account)} is negative")
        word, bit = divmod(nonce, NONCES_PER_WORD)
        mask = masks.get((account, word), 0)
        if mask >> bit & 1:
            raise SettlementRefused(f"nonce {nonce} of {address_hex(account)} is spent twice")
        masks[account, word] = mask | 1 << bit
    rows = (NullifierRow(account, word, mask) for (account, word), mask in masks.items())
    return tuple(sorted(rows, key=lambda row: row.key))


def digest(settlement: Settlement, domain: Domain) -> bytes:
    """What the members sign: the EIP-712 hash, 32 bytes, as the contract computes it."""
    s = settlement
    values = (s.id, s.epoch, s.sealed_at, s.root, s.transcript, *row_hashes(s.deltas, s.nullifiers))
    return eip712.digest(domain, _SETTLEMENT_TYPE, values)


def row_hashes(deltas: Sequence[Delta], nullifiers: Sequence[NullifierRow]) -> tuple[bytes, bytes]:
    """The fields `deltas` and `nullifiers` of what is signed, 32 bytes each."""
    words = [part for row in nullifiers for part in row.packed()]
    return (
        _array_hash(len(deltas), [row.packed() for row in deltas]),
        _array_hash(len(nullifiers), words),
    )


def committee_digest(
    epoch: int, members: Sequence[Address], threshold: int, guardian: Address, domain: Domain
) -> bytes:
    """What a quorum signs to propose the next committee; `epoch` is the vault's `last_epoch` + 1."""
    rows = [int.from_bytes(member) for member in members]
    values = (epoch, _array_hash(len(rows), rows), threshold, int.from_bytes(guardian))
    return eip712.digest(domain, _COMMITTEE_TYPE, values)


def sign(settlement: Settlement, domain: Domain, private_key: PrivateKey) -> Signature:
    """A member's signature of a settlement, 65 bytes."""
    return sign_digest(digest(settlement, domain), private_key)


def recover(settlement: Settlement, domain: Domain, signature: Signature) -> Address:
    """The account that signed a settlement. Raises `SettlementRefused`."""
    return _signer(digest(settlement, domain), signature)


def ordered_signatures(
    settlement: Settlement, domain: Domain, signatures: Iterable[Signature]
) -> tuple[Signature, ...]:
    """The signatures by ascending signer, as the contract wants them. Raises `SettlementRefused`."""
    message = digest(settlement, domain)
    return tuple(sorted(signatures, key=lambda signature: _signer(message, signature)))


def check_signatures(
    settlement: Settlement,
    domain: Domain,
    signatures: Sequence[Signature],
    members: Collection[Address],
    quorum: int,
) -> None:
    """Check that the contract would accept the signatures; raises `SettlementRefused` if not.

    `quorum` is 2t + 1. 1. their number; 2. each is canonical; 3. signers ascend, so they are distinct;
    4. each signer is a member.
    """
    if not 1 <= quorum <= MAX_MEMBERS:
        raise SettlementRefused(f"quorum: {quorum} is not from 1 to {MAX_MEMBERS}")
    if not quorum <= len(signatures) <= MAX_MEMBERS:  # 1
        raise SettlementRefused(
            f"signatures: {len(signatures)}, must be {quorum} to {MAX_MEMBERS}", "wait for further members"
        )
    message = digest(settlement, domain)
    previous = bytes(ADDRESS_BYTES)
    for signature in signatures:
        signer = _signer(message, signature)  # 2
        if signer <= previous:  # 3
            raise SettlementRefused(
                f"signatures: {address_hex(signer)} is out of order or signed twice",
                "put the signatures in ascending order of their signers",
            )
        if signer not in members:  # 4
            raise SettlementRefused(f"signatures: {address_hex(signer)} is not a member")
        previous = signer


def _signer(message: bytes, signature: Signature) -> Address:
    try:
        return eip712.recover_digest(message, signature)
    except VerificationError as error:
        raise SettlementRefused(str(error)) from None


def _array_hash(rows: int, words: Sequence[int]) -> bytes:
    """keccak256 of the standard ABI encoding of an array of `rows` static elements: offset, length, words."""
    return keccak256(b"".join(map(word, (32, rows, *words))))


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise SettlementRefused(f"{name} {value} is not from {low} to {high}")


def _check_account(name: str, account: Address) -> None:
    if len(account) != ADDRESS_BYTES:
        raise SettlementRefused(f"{name}: {len(account)} bytes, not {ADDRESS_BYTES}")
    if not any(account):
        raise SettlementRefused(f"{name}: the zero address")


def _check_ascending(name: str, keys: Sequence[int]) -> None:
    if len(keys) > MAX_ROWS:
        raise SettlementRefused(
            f"settlement: {len(keys)} {name} rows, at most {MAX_ROWS}",
            "split the rounds over several settlements",
        )
    for place, (before, after) in enumerate(pairwise(keys), start=1):
        if after <= before:
            raise SettlementRefused(f"settlement: {name} row {place} is not above the row before it")
