"""Brings signed settlements onto the chain, each exactly once, whatever becomes of its transactions.

One transaction in flight: it bears the sending key's next nonce, the number of its transactions in blocks. So
one that does not get on is replaced, never doubled; and the vault's sequential ids make landing twice
impossible, whoever else sends the same settlement. Nothing is kept on disk: what to do next is read off the
chain, and the memory of what was sent only saves waiting.

`step` asks a few questions, sends one transaction at most and returns; it is called again and again. That a
settlement has landed may be undone by a reorganisation until the block is final: then `step` sends it again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from darkpool.chain import Chain, Receipt
from darkpool.eip712 import address_of
from darkpool.errors import ChainRefused
from darkpool.evm import Fees
from darkpool.evm_errors import NodeRefused, Posted
from darkpool.settlement import Settlement
from darkpool.types import PrivateKey, Signature, address_hex
from darkpool.vault import Settled

GWEI: Final = 10**9
_NOTHING: Final = Fees(0, 0)


@dataclass(frozen=True, slots=True)
class FeeLimits:
    """`most` wei per gas are ever offered; after `bump_seconds` without getting on, more than before."""

    most: int = 200 * GWEI
    bump_seconds: float = 45.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a settlement stands at the head of the chain.

    landed         the vault has applied it; `receipt` if a recent block shows it, which has `confirmations`
                   blocks with itself and those above
    tx_hash        else the latest of `attempts` transactions under the present nonce, which offers `fee`, the
                   most per gas in wei
    trouble        why it does not land, if there is a reason besides that blocks take their time
    """

    landed: bool = False
    receipt: Receipt | None = None
    confirmations: int = 0
    tx_hash: bytes | None = None
    attempts: int = 0
    fee: int = 0
    trouble: str = ""


@dataclass(slots=True)
class _Slot:
    """What waits under `nonce`: ours for `settlement`, or if that is None, something not known here."""

    nonce: int
    settlement: Settlement | None
    since: float
    gas: int = 0
    fees: Fees = _NOTHING
    hashes: list[bytes] = field(default_factory=list)


class Submitter:
    """Sends settlements with one key. Not for use by several threads at once."""

    def __init__(self, chain: Chain, key: PrivateKey, limits: FeeLimits) -> None:
        self._chain, self._evm, self._key = chain, chain.evm, key
        self.sender: Final = address_of(key)
        self._limits = limits
        self._slot: _Slot | None = None
        self._failed_at: float | None = None
        self._trouble = ""

    def step(self, settlement: Settlement, signatures: Sequence[Signature]) -> Standing:
        """Do what can be done now. Raises ChainError only if the node does not answer.

        1. landed, or not its turn   2. what became of the last transaction   3. wait   4. send
        """
        ahead = self._chain.next_id() - settlement.id
        if ahead > 0:  # 1
            return self._landed(settlement)
        if ahead < 0:
            return Standing()
        try:
            return self._advance(settlement, signatures)
        except (ChainRefused, NodeRefused) as refusal:
            self._trouble = f"{refusal.message} (sender {address_hex(self.sender)})"
            return self._standing(settlement)

    def _advance(self, settlement: Settlement, signatures: Sequence[Signature]) -> Standing:
        mined, queued = self._evm.nonces(self.sender)
        slot = self._slot
        if slot is not None and slot.nonce != mined:  # 2
            if slot.nonce < mined and slot.settlement == settlement:
                self._judge(slot)
            slot = self._slot = None
        if slot is None and queued > mined:  # an earlier process of ours sent it, or another program
            slot = self._slot = _Slot(mined, None, time.monotonic())
        if self._waits(slot, settlement, queued):  # 3
            return self._standing(settlement)
        return self._send(settlement, signatures, mined, alone=queued == mined)  # 4

    def _judge(self, slot: _Slot) -> None:
        """The nonce was used, and the settlement has not landed: by what, or why not."""
        for tx_hash in slot.hashes:
            try:
                self._evm.mined(tx_hash)
            except ChainRefused as refusal:
                self._failed_at = time.monotonic()  # what passed before it was sent would cost gas again
                self._trouble = f"transaction 0x{tx_hash.hex()} failed: {refusal.reason}"
                return
        self._trouble = f"another transaction of {address_hex(self.sender)} took nonce {slot.nonce}"

    def _waits(self, slot: _Slot | None, settlement: Settlement, queued: int) -> bool:
        """Whether all there is to do is to wait."""
        now, patience = time.monotonic(), self._limits.bump_seconds
        if slot is None:
            return self._failed_at is not None and now - self._failed_at < patience
        if slot.settlement is None:
            return queued > slot.nonce and now - slot.since < patience
        if slot.settlement != settlement:  # ours of a settlement that somebody else brought there
            return False
        if now - slot.since < patience or slot.fees.most >= self._limits.most:
            waits = any(map(self._evm.known, reversed(slot.hashes)))
            if waits and now - slot.since >= patience:
                self._trouble = self._too_dear()
            return waits  # else the node has dropped it
        return False

    def _send(
        self, settlement: Settlement, signatures: Sequence[Signature], nonce: int, *, alone: bool
    ) -> Standing:
        arguments = [settlement.packed(), list(signatures)]
        data = self._evm.encoded("Vault", self._chain.vault, "settle", arguments)
        gas = self._estimate(data, alone=alone)
        slot, now = self._slot, time.monotonic()
        least = _NOTHING if slot is None else slot.fees
        if slot is None or slot.settlement != settlement:
            least, slot = _raised(least), _Slot(nonce, settlement, now)
        elif now - slot.since >= self._limits.bump_seconds:
            least = _raised(least)
        slot.gas = max(gas, slot.gas)
        fees = self._capped(_higher(self._evm.fees(), least))
        outcome = self._post(slot, data, fees)
        while outcome is Posted.UNDERPRICED and fees.most < self._limits.most:
            fees = self._capped(Fees(2 * fees.most, 2 * fees.tip))
            outcome = self._post(slot, data, fees)
        if outcome is Posted.TAKEN:
            self._trouble, self._failed_at = "", None
        elif outcome is Posted.UNDERPRICED:
            self._trouble = self._too_dear()
        if self._chain.next_id() > settlement.id:  # on chains that mine at once
            return self._landed(settlement)
        return self._standing(settlement)

    def _post(self, slot: _Slot, data: bytes, fees: Fees) -> Posted:
        signed = self._evm.sign(self._key, self._chain.vault, data, slot.nonce, slot.gas, fees)
        slot.fees, slot.since = fees, time.monotonic()
        if signed.tx_hash not in slot.hashes:
            slot.hashes.append(signed.tx_hash)
        self._slot = slot  # before it is sent: if the answer is lost, it is looked for
        try:
            outcome = self._evm.post(signed)
        except NodeRefused:
            self._forget(signed.tx_hash)
            raise
        if outcome is not Posted.TAKEN:
            # A nonce used between the question and the answer is seen by the next step.
            self._forget(signed.tx_hash)
        return outcome

    def _forget(self, tx_hash: bytes) -> None:
        """A transaction that the node did not take."""
        if self._slot is not None:
            self._slot.hashes.remove(tx_hash)
            if not self._slot.hashes:
                self._slot = None

    def _estimate(self, data: bytes, *, alone: bool) -> int:
        """Gas to allow, by the latest block. Raises ChainRefused with the contract's reason.

        `alone`: nothing of the sender waits. Then the next block may be asked too: the latest can be older
        than the settlement, where blocks are made on demand.
        """
        try:
            return self._evm.estimate(self.sender, self._chain.vault, data, "latest")
        except ChainRefused:
            if not alone:
                raise
            return self._evm.estimate(self.sender, self._chain.vault, data, "pending")

    def _capped(self, fees: Fees) -> Fees:
        return Fees(min(fees.most, self._limits.most), min(fees.tip, self._limits.most))

    def _too_dear(self) -> str:
        asked = self._evm.fees().most / GWEI
        return f"fees: {asked:.3g} gwei are asked, chain.max_fee_gwei is {self._limits.most / GWEI:.3g}"

    def _landed(self, settlement: Settlement) -> Standing:
        self._trouble, self._failed_at = "", None
        found = self._chain.landed(settlement.id)
        if found is None:
            return Standing(landed=True)
        if not is_of(found, settlement):
            return Standing(trouble=f"the vault has applied another settlement {settlement.id}")
        receipt = self._evm.mined(found.place.tx_hash)
        confirmations = self._chain.head() - found.place.block + 1
        return Standing(landed=True, receipt=receipt, confirmations=confirmations)

    def _standing(self, settlement: Settlement) -> Standing:
        slot = self._slot
        if slot is not None and slot.settlement is None:
            unknown = f"nonce {slot.nonce} holds a transaction of another process"
            return Standing(trouble=self._trouble or unknown)
        if slot is None or slot.settlement != settlement:
            return Standing(trouble=self._trouble)
        return Standing(
            tx_hash=slot.hashes[-1], attempts=len(slot.hashes), fee=slot.fees.most, trouble=self._trouble
        )


def is_of(event: Settled, settlement: Settlement) -> bool:
    """Whether this is the settlement that the vault has applied: ids are given again after a void."""
    s = settlement
    return (event.id, event.epoch, event.sealed_at, event.root, event.transcript) == (
        *(s.id, s.epoch, s.sealed_at, s.root, s.transcript),
    ) and (event.deltas, event.nullifiers) == (
        tuple((row.token, row.account, row.amount) for row in s.deltas),
        tuple((row.account, row.word, row.mask) for row in s.nullifiers),
    )


def _raised(fees: Fees) -> Fees:
    """An eighth more of both: nodes let a transaction take another's place for 10 % more, or for 12.5 %."""
    return Fees(*(value + -(-value // 8) for value in (fees.most, fees.tip)))


def _higher(one: Fees, other: Fees) -> Fees:
    return Fees(max(one.most, other.most), max(one.tip, other.tip))
