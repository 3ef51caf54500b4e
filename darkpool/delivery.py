"""A signed settlement in anybody's hands: what its vault says of it, and bringing it there.

Whoever pays the gas may send it, with the operator and the committee switched off: its signatures are all the
vault asks for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from darkpool.chain import Chain
from darkpool.errors import ChainError, ChainRefused, ConfigError, SettlementRefused
from darkpool.evm_records import ether_text
from darkpool.settlement_gas import estimate
from darkpool.signed_settlement import SignedSettlement
from darkpool.submitter import FeeLimits, Standing, Submitter, is_of
from darkpool.types import Address, PrivateKey, address_hex

STEP_SECONDS: Final = 1.0


class Verdict(StrEnum):
    """What would become of a settlement that is sent now."""

    READY = "ready"
    SETTLED = "settled"
    OVERTAKEN = "overtaken"
    UNSIGNED = "unsigned"
    STALE = "stale"
    EXPIRED = "expired"
    EARLY = "early"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict, in a sentence too, and what to do about it."""

    verdict: Verdict
    text: str
    hint: str = ""


def vault_of(signed: SignedSettlement, rpc_url: str) -> Chain:
    """The vault it is for, at a node. Raises ConfigError, ChainError."""
    chain = Chain.rpc(rpc_url, finality=0)
    if chain.chain_id != signed.domain.chain_id:
        raise ConfigError(
            f"chain: its id is {chain.chain_id}, the settlement is for {signed.domain.chain_id}",
            "give a node of that chain with --rpc",
        )
    chain.attach(signed.domain.contract)
    return chain


def finding(signed: SignedSettlement, chain: Chain) -> Finding:
    """What the vault says of it now. Raises ChainError."""
    s, following = signed.settlement, chain.next_id()
    if s.id >= following:
        return _obstacle(signed, chain, following) or Finding(Verdict.READY, "the vault would take it")
    landed = chain.landed(s.id)
    if landed is not None and is_of(landed, s):
        return Finding(Verdict.SETTLED, f"settled already, in block {landed.place.block}")
    return Finding(
        Verdict.OVERTAKEN,
        f"id {s.id} is settled already, the next is {following}",
        "nothing is left to do: it was this settlement, or another took the id after this one was void",
    )


def _obstacle(signed: SignedSettlement, chain: Chain, following: int) -> Finding | None:
    """The first of what keeps it from being applied; those that last come first."""
    s, epoch = signed.settlement, chain.epoch()
    if s.epoch != epoch:
        text = f"signed by the committee of epoch {s.epoch}, the vault's is of epoch {epoch}"
        return Finding(Verdict.STALE, text, "the venue has it signed anew")
    try:
        signed.check(chain.members(), chain.quorum())
    except SettlementRefused as refusal:
        return Finding(Verdict.UNSIGNED, refusal.message, refusal.hint or "save it again")
    late = chain.now() - s.sealed_at - chain.settle_window()
    if late > 0:
        return Finding(Verdict.EXPIRED, f"expired {late} s ago", "it is void: its fills are busted")
    if s.id > following:
        return Finding(Verdict.EARLY, f"id {s.id} waits for {following}", f"submit {following} first")
    return _held_up(chain)


def _held_up(chain: Chain) -> Finding | None:
    if chain.frozen():
        text = "the committee is frozen: a settlement it signed was proven false"
        return Finding(Verdict.PAUSED, text, "only the next committee settles again")
    if chain.paused():
        return Finding(Verdict.PAUSED, "the guardian has paused settling", "wait until it is resumed")
    return None


def deliver(
    signed: SignedSettlement,
    chain: Chain,
    key: PrivateKey,
    limits: FeeLimits,
    seconds: float,
    tell: Callable[[Standing], None],
) -> Standing:
    """Bring it to the vault and wait until a block has it; `tell` hears of each change.

    Raises SettlementRefused if the vault would not take it, ChainRefused if the sender cannot pay, ChainError
    after so many seconds: then it may land yet, and may be delivered again.
    """
    submitter, started, last = Submitter(chain, key, limits), time.monotonic(), Standing()
    while True:
        found = finding(signed, chain)
        if found.verdict not in {Verdict.READY, Verdict.SETTLED}:
            raise SettlementRefused(f"settlement {signed.settlement.id}: {found.text}", found.hint)
        if found.verdict is Verdict.READY and not last.attempts:
            _check_ether(signed, chain, submitter.sender, limits)
        standing = submitter.step(signed.settlement, signed.signatures)
        if standing.landed:
            return standing
        if standing != last:
            tell(standing)
            last = standing
        if time.monotonic() - started > seconds:
            raise ChainError(
                f"settlement {signed.settlement.id}: not in a block after {seconds:.0f} s"
                + (f": {standing.trouble}" if standing.trouble else ""),
                "it may land yet; the same command goes on",
            )
        time.sleep(STEP_SECONDS)


def _check_ether(signed: SignedSettlement, chain: Chain, sender: Address, limits: FeeLimits) -> None:
    """Raises ChainRefused, before anything is sent, if the sender could not pay an upper bound of the gas."""
    s = signed.settlement
    cost = estimate(len(s.deltas), len(s.nullifiers)) * min(chain.evm.fees().most, limits.most)
    held = chain.evm.ether(sender)
    if held < cost:
        raise ChainRefused(
            f"gas: {address_hex(sender)} has {ether_text(held)} ether, and it may cost {ether_text(cost)}",
            f"send {ether_text(cost - held)} ether or more to it, and run the same command again",
        )
