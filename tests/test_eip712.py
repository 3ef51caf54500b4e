"""EIP-712 digests against eth_account's typed-data encoder; signatures in their one canonical form only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from commitments.errors import ParameterError, VerificationError
from darkpool import eip712
from darkpool.book import cancel_digest
from darkpool.eip712 import GROUP_ORDER, Domain, check_signer, recover_digest, sign_digest
from darkpool.errors import ConfigError
from darkpool.listing import ListedOrder, SealedList
from darkpool.types import Address, Nonce, PrivateKey, RoundId, Tick
from tests.eip712_domain import DOMAIN_TYPE
from tests.venue_log import Venue
from tests.venue_support import NOW, buy, key_of, some_terms

KEY: Final = PrivateKey(bytes(range(1, 33)))
MESSAGE: Final = bytes(range(32))
MARKET: Final = b"\x03" * 32
TERMS_HASH: Final = b"\x16" * 32


def independent(
    domain: Domain, name: str, fields: Sequence[tuple[str, str]], message: dict[str, Any]
) -> bytes:
    """What eth_account signs for the same struct."""
    typed = {
        "types": {
            "EIP712Domain": DOMAIN_TYPE,
            name: [{"name": field, "type": kind} for kind, field in fields],
        },
        "primaryType": name,
        "domain": {
            "name": "darkpool",
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": "0x" + domain.contract.hex(),
        },
        "message": message,
    }
    signed = Account.sign_message(encode_typed_data(full_message=typed), KEY)
    return bytes(signed.message_hash)


domains = st.builds(Domain, st.integers(1, 2**256 - 1), st.binary(min_size=20, max_size=20).map(Address))
words = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, 2**64 - 1)


@given(domains, numbers, st.integers(0, 2**16 - 1), numbers, words)
def test_sealed_rounds_hash_as_eth_account_hashes_them(
    domain: Domain, number: int, reference: int, sealed_at: int, root: bytes
) -> None:
    sealed = SealedList(RoundId(number), MARKET, Tick(reference), sealed_at, (), root, TERMS_HASH)
    fields = [
        ("bytes32", "market"),
        ("uint64", "round"),
        ("uint16", "reference"),
        ("uint64", "sealedAt"),
        ("uint32", "orders"),
        ("bytes32", "root"),
        ("bytes32", "terms"),
    ]
    message = {
        "market": MARKET,
        "round": number,
        "reference": reference,
        "sealedAt": sealed_at,
        "orders": 0,
        "root": root,
        "terms": TERMS_HASH,
    }
    assert sealed.digest(domain) == independent(domain, "SealedRound", fields, message)


@given(st.binary(min_size=20, max_size=20).map(Address), numbers)
def test_cancellations_hash_as_eth_account_hashes_them(account: Address, nonce: int) -> None:
    terms = some_terms()
    fields = [("address", "account"), ("uint64", "nonce"), ("bytes32", "market")]
    message = {"account": "0x" + account.hex(), "nonce": nonce, "market": terms.market.id}
    expected = independent(terms.domain, "CancelOrder", fields, message)
    assert cancel_digest(terms, account, Nonce(nonce)) == expected


def test_a_sealed_order_is_signed_as_eth_account_signs_it() -> None:
    venue = Venue(names=("ada",))
    order = venue.sealed("ada", venue.draft("ada", buy(1, 2)))
    fields = [("address", "account"), ("uint64", "nonce"), ("bytes32", "market"), ("bytes32", "order")]
    message = {
        "account": "0x" + order.account.hex(),
        "nonce": order.nonce,
        "market": order.statement.market,
        "order": order.hash,
    }
    digest = independent(venue.terms.domain, "SealedOrder", fields, message)
    assert Account.unsafe_sign_hash(digest, key_of("ada")).signature == order.signature
    check_signer(digest, order.signature, order.account)


def test_each_part_of_a_digest_counts() -> None:
    domain = Domain(1, Address(bytes(20)))
    encoded = "A(uint256 x,bytes32 y)"
    digests = {
        eip712.digest(*parts)
        for parts in (
            (domain, encoded, (1, bytes(32))),
            (Domain(2, domain.contract), encoded, (1, bytes(32))),
            (Domain(1, Address(b"\x01" * 20)), encoded, (1, bytes(32))),
            (domain, "B(uint256 x,bytes32 y)", (1, bytes(32))),
            (domain, encoded, (2, bytes(32))),
            (domain, encoded, (1, b"\x01" * 32)),
        )
    }
    assert len(digests) == 6


@pytest.mark.parametrize("value", [-1, 1 << 256, b"", b"\x01" * 19, b"\x01" * 21, b"\x01" * 31, b"\x01" * 33])
def test_what_is_no_word_is_refused(value: int | bytes) -> None:
    with pytest.raises(ParameterError, match="word"):
        eip712.word(value)


@pytest.mark.parametrize(
    "chain_id,contract",
    [(0, bytes(20)), (-1, bytes(20)), (1 << 256, bytes(20)), (1, bytes(19)), (1, bytes(21)), (1, b"")],
)
def test_what_is_no_domain_is_refused(chain_id: int, contract: bytes) -> None:
    with pytest.raises(ConfigError):
        Domain(chain_id, Address(contract))


@given(words, st.integers(1, GROUP_ORDER - 1))
def test_signatures_are_those_of_eth_account_and_recover(message: bytes, secret: int) -> None:
    key = PrivateKey(secret.to_bytes(32))
    signature = sign_digest(message, key)
    assert signature == Account.unsafe_sign_hash(message, key).signature
    assert recover_digest(message, signature) == eip712.address_of(key)
    assert bytes.fromhex(Account.from_key(key).address[2:]) == eip712.address_of(key)


def high_s(signature: bytes) -> bytes:
    """The other signature of the same message and key, which EIP-2 refuses."""
    s = GROUP_ORDER - int.from_bytes(signature[32:64])
    return signature[:32] + s.to_bytes(32) + bytes([55 - signature[64]])


REFUSED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "short": lambda s: s[:-1],
    "long": lambda s: s + b"\0",
    "v 0": lambda s: s[:64] + b"\x00",
    "v 1": lambda s: s[:64] + b"\x01",
    "v 29": lambda s: s[:64] + b"\x1d",
    "v 255": lambda s: s[:64] + b"\xff",
    "r 0": lambda s: bytes(32) + s[32:],
    "r order": lambda s: GROUP_ORDER.to_bytes(32) + s[32:],
    "r too large": lambda s: b"\xff" * 32 + s[32:],
    "s 0": lambda s: s[:32] + bytes(32) + s[64:],
    "s high": high_s,
    "s order": lambda s: s[:32] + GROUP_ORDER.to_bytes(32) + s[64:],
    "r on no point": lambda s: (5).to_bytes(32) + s[32:],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_canonical_recovers_nobody(name: str) -> None:
    with pytest.raises(VerificationError, match="signature"):
        recover_digest(MESSAGE, REFUSED[name](sign_digest(MESSAGE, KEY)))


@given(st.integers(0, 64 * 8 - 1))
def test_a_flipped_bit_is_not_the_signer(bit: int) -> None:
    flipped = bytearray(sign_digest(MESSAGE, KEY))
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError):
        check_signer(MESSAGE, bytes(flipped), eip712.address_of(KEY))


def test_the_other_v_recovers_somebody_else() -> None:
    signature = sign_digest(MESSAGE, KEY)
    other = signature[:64] + bytes([55 - signature[64]])
    with pytest.raises(VerificationError, match="recovers 0x"):
        check_signer(MESSAGE, other, eip712.address_of(KEY))


@pytest.mark.parametrize("key", [b"", bytes(32), b"\xab" * 31, b"\xab" * 33, GROUP_ORDER.to_bytes(32)])
def test_what_is_no_key_is_refused_without_being_shown(key: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        eip712.address_of(PrivateKey(key))
    assert caught.value.__cause__ is None
    assert "abab" not in str(caught.value)


def test_an_order_signed_for_another_vault_or_chain_is_refused() -> None:
    venue = Venue(names=("ada",))
    draft = venue.draft("ada", buy(1, 2))
    for chain_id, contract in ((1, venue.terms.contract), (venue.terms.chain_id, Address(b"\x77" * 20))):
        order = draft.finish(venue.terms.key, chain_id, contract, key_of("ada"))
        answer = venue.answer(order.raw, NOW)
        assert not isinstance(answer, ListedOrder)
        assert "signature: not the account's" in str(answer)
