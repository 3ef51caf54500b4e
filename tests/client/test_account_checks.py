"""What the venue says of committee and balances, held against the chain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from darkpool.chain import Chain
from darkpool.client.account_state import check_balances, check_committee
from darkpool.client.answers import Collateral, TokenCollateral
from darkpool.eip712 import address_of
from darkpool.errors import PeerFault
from darkpool.netting import Signers
from darkpool.order import Terms
from darkpool.types import Address, PrivateKey, Quanta, TokenIndex
from tests.client.plain_venue import OPERATOR, _deploy, _terms, settings, signers

ADA = PrivateKey(b"\x11" * 32)


@pytest.fixture(scope="module")
def chain() -> Chain:
    found = Chain.embedded()
    _deploy(found, settings())
    found.fund(address_of(ADA))
    for amount in (5, 7):
        found.mint(OPERATOR, TokenIndex(0), address_of(ADA), Quanta(amount))
        found.deposit(ADA, TokenIndex(0), Quanta(amount))
    return found


@pytest.fixture
def terms(chain: Chain) -> Terms:
    return _terms(settings(), chain, tuple(token.contract for token in chain.tokens))


def said(terms: Terms, base: int) -> Collateral:
    rows = [
        TokenCollateral(token, bytes(48), 0, Quanta(amount), Quanta(0), Quanta(0))
        for token, amount in zip(terms.tokens, (base, 0), strict=True)
    ]
    return Collateral(
        known=True,
        halted=False,
        reasons=(),
        lowest_unused=0,
        used_above=frozenset(),
        tokens=tuple(rows),
    )


@pytest.mark.parametrize("balance", [12, 5, 0])
def test_a_balance_of_now_or_of_a_moment_ago_is_believed(chain: Chain, terms: Terms, balance: int) -> None:
    check_balances(chain, address_of(ADA), said(terms, balance))


@pytest.mark.parametrize("balance", [13, 11, 7, 6, 1])
def test_a_balance_that_never_was_is_not(chain: Chain, terms: Terms, balance: int) -> None:
    with pytest.raises(PeerFault, match=f"{balance} quanta, never so"):
        check_balances(chain, address_of(ADA), said(terms, balance))


def test_the_committee_is_the_vaults(chain: Chain, terms: Terms) -> None:
    check_committee(chain, terms, signers())


@pytest.mark.parametrize("fault", ["chain", "vault", "member", "threshold", "tokens"])
def test_another_committee_chain_or_vault_is_named(chain: Chain, terms: Terms, fault: str) -> None:
    found = signers()
    match fault:
        case "chain":
            terms = replace(terms, chain_id=terms.chain_id + 1)
        case "vault":
            terms = replace(terms, contract=Address(b"\x09" * 20))
        case "member":
            found = Signers(1, {**found.addresses, 2: Address(b"\x09" * 20)})
        case "threshold":
            found = Signers(0, found.addresses)
        case _:
            terms = replace(terms, tokens=terms.tokens[::-1])
    with pytest.raises(PeerFault, match=r"vault|chain"):
        check_committee(chain, terms, found)
