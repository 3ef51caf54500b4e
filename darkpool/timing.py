"""Clocks that must agree before anything is sealed: of the chain, its vault, the venue and its members."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from statistics import median
from typing import Final

from darkpool.chain import Chain
from darkpool.errors import ConfigError
from darkpool.types import Address

CLOCK_SLACK_SECONDS: Final = 30
"""How far the clocks of operator and members may be apart."""

FRESH_BLOCKS: Final = 10
"""Final blocks that the log may lag behind when a list is signed."""

_PACE_BLOCKS: Final = 50


def handover(chain: Chain, sealed_at: int, committee: Collection[Address]) -> str:
    """Why what the committee seals then (unix seconds) might not be settled: another may be in office.

    Empty if nothing stands against it. Anyone may activate a proposal that is ready, and from then on the
    vault refuses what the committee before it signed, so all of that must be late by then. Raises ChainError.
    """
    if set(chain.members()) != set(committee):
        return "chain: the vault's committee is another one than this venue's"
    if chain.frozen():
        return "chain: the committee is frozen, a settlement it signed was proven false; leave the vault"
    proposal = chain.proposal()
    if not proposal.epoch or proposal.ready_at > sealed_at + chain.settle_window():
        return ""
    return (
        f"chain: committee {proposal.epoch} may take office at {proposal.ready_at}, before a settlement of "
        "this round could be late; activate it first"
    )


def block_seconds(chain: Chain) -> float:
    """The usual time between two of the latest blocks; 0 for a chain of one block. Raises ChainError.

    The median, which no standstill of a chain moves.
    """
    head = chain.head()
    times = [chain.block(number).time for number in range(max(0, head - _PACE_BLOCKS), head + 1)]
    return median(b - a for a, b in pairwise(times)) if head else 0.0


def check_pace(chain: Chain, seconds: float) -> None:
    """Blocks so many seconds apart let the log see a request before its delay overtakes a settlement.

    A list may be sealed while the log lacks blocks that are not final, and FRESH_BLOCKS more. Raises
    ConfigError, ChainError.
    """
    unseen = (chain.finality + FRESH_BLOCKS) * seconds + CLOCK_SLACK_SECONDS
    spare = chain.request_delay() - chain.settle_window()
    if unseen > spare:
        raise ConfigError(
            f"chain.finality_blocks: {chain.finality} and {FRESH_BLOCKS} blocks of {seconds:g} s, and "
            f"{CLOCK_SLACK_SECONDS} s between clocks, are {unseen:g} s; the vault's delays exceed its settle "
            f"window by {spare} s only",
            "lower it, or use a vault with longer withdraw_delay and cancel_delay",
        )
