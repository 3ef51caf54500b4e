"""A vault on a real anvil whose blocks, pool and past a test controls, and trades to settle on it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx

from darkpool.chain import Chain
from darkpool.eip712 import address_of
from darkpool.settlement import (
    Settlement,
    delta_rows,
    nullifier_rows,
    ordered_signatures,
    sign,
)
from darkpool.signed_settlement import SignedSettlement
from darkpool.submitter import GWEI, FeeLimits, Standing, Submitter
from darkpool.types import Nonce, PrivateKey, Quanta, TokenIndex
from darkpool.vault import Token, VaultTerms
from tests.anvil import running_anvil

OPERATOR, STRANGER, ALICE, BOB = (PrivateKey(bytes([i]) * 32) for i in (1, 2, 3, 4))
MEMBERS: Final = tuple(sorted((PrivateKey(bytes([9] * 31 + [i])) for i in range(4)), key=address_of))
A, B = address_of(ALICE), address_of(BOB)
BASE = TokenIndex(0)
HELD: Final = 1_000_000
WINDOW: Final = 3600


class Ground:
    """Alice and Bob hold HELD quanta each; every trade moves one from Bob to Alice and spends a nonce."""

    def __init__(self, url: str) -> None:
        self.url: Final = url
        self.chain: Final = Chain.rpc(url, finality=2)
        for key in (OPERATOR, STRANGER, ALICE, BOB):
            self.chain.fund(address_of(key))
        token = Token(self.chain.deploy_token(OPERATOR, "Base", "BASE", 6), 1)
        terms = VaultTerms(tuple(map(address_of, MEMBERS)), 1, (token,), settle_window=WINDOW)
        self.chain.deploy_vault(OPERATOR, terms)
        for key in (ALICE, BOB):
            self.chain.mint(OPERATOR, BASE, address_of(key), Quanta(HELD))
            self.chain.deposit(key, BASE, Quanta(HELD))
        self._nonces = itertools.count()

    def rpc(self, method: str, *parameters: object) -> Any:  # noqa: ANN401 - whatever it answers
        """What only a development chain can do."""
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        answer = httpx.post(self.url, json=question, timeout=10, trust_env=False).json()
        assert "error" not in answer, answer
        return answer["result"]

    def hold_blocks(self) -> None:
        """From now on blocks are made by `mine` only."""
        self.rpc("evm_setAutomine", False)

    def mine(self, blocks: int = 1) -> None:
        self.rpc("anvil_mine", hex(blocks))

    def waiting(self) -> list[bytes]:
        """The transactions that wait, by hash."""
        pool = self.rpc("txpool_content")
        return [
            bytes.fromhex(transaction["hash"][2:])
            for kind in ("pending", "queued")
            for by_nonce in pool[kind].values()
            for transaction in by_nonce.values()
        ]

    def drop(self) -> int:
        """Lose all that waits; how many that were."""
        lost = self.waiting()
        for tx_hash in lost:
            self.rpc("anvil_dropTransaction", "0x" + tx_hash.hex())
        return len(lost)

    def trade(self, ahead: int = 0, sealed_at: int | None = None) -> SignedSettlement:
        """The next settlement, or the one so many after it; sealed with the latest block by default."""
        settlement = Settlement(
            id=self.chain.next_id() + ahead,
            epoch=1,
            sealed_at=self.chain.now() if sealed_at is None else sealed_at,
            root=b"\x11" * 32,
            transcript=b"\x22" * 32,
            deltas=delta_rows({(BASE, A): 1, (BASE, B): -1}),
            nullifiers=nullifier_rows([(A, Nonce(next(self._nonces)))]),
        )
        domain = self.chain.domain()
        signatures = [sign(settlement, domain, key) for key in MEMBERS[:3]]
        return SignedSettlement(domain, settlement, ordered_signatures(settlement, domain, signatures))

    def sender(self, key: PrivateKey = OPERATOR, *, patience: float = 60, most: int = 200) -> Sender:
        """A submitter of its own connection, as a process would have that begins now."""
        chain = Chain.rpc(self.url, finality=2)
        chain.attach(self.chain.vault)
        return Sender(Submitter(chain, key, FeeLimits(most * GWEI, patience)))

    def moved(self) -> int:
        """How many quanta Alice has of Bob: one for each trade that settled. What there is stays the same."""
        alice, bob = (self.chain.balance(BASE, account) for account in (A, B))
        assert alice + bob == 2 * HELD
        assert alice - HELD == self.chain.next_id() - 1
        return alice - HELD

    def settled(self, signed: SignedSettlement) -> bool:
        """Whether it settled: exactly once, with its nonce spent; else nothing of it is there."""
        number = signed.settlement.id
        found = self.chain.evm.events(
            "Vault", self.chain.vault, "Settled", 0, self.chain.head(), {"id": number}
        )
        (row,) = signed.settlement.nullifiers
        spent = bool(self.chain.nullifier_word(A, row.word) & row.mask)
        assert self.moved() == self.chain.next_id() - 1
        assert [spent, number < self.chain.next_id()] == [bool(found)] * 2
        assert len(found) <= 1
        return spent


class Sender:
    """A submitter that takes signed settlements."""

    def __init__(self, submitter: Submitter) -> None:
        self.submitter: Final = submitter

    def step(self, signed: SignedSettlement) -> Standing:
        return self.submitter.step(signed.settlement, signed.signatures)


@contextmanager
def ground(*options: str) -> Iterator[Ground]:
    """A new one."""
    with running_anvil(*options) as url:
        yield Ground(url)
