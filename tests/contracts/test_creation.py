"""Terms under which no vault comes to be, each with its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

import contracts
from tests.contracts.world import ALICE, DELAY, FINALITY, WINDOW, World, addresses

CREATIONS: Final[dict[str, Callable[[World], dict[str, Any]]]] = {}


def creation(reason: str, **changes: object) -> None:
    CREATIONS[reason] = lambda _: changes


creation("vault: settle_window is zero", settle_window=0)
creation("vault: committee_delay is above 365 days", committee_delay=365 * 86_400 + 1)
creation("vault: committee_delay is not above 2 * withdraw_delay", committee_delay=2 * DELAY)
creation("vault: withdraw_delay is above 365 days", withdraw_delay=365 * 86_400 + 1)
creation("vault: withdraw_delay is below 600 seconds", withdraw_delay=599, settle_window=1, finality=0)
creation("vault: withdraw_delay is not above settle_window + finality", withdraw_delay=WINDOW + FINALITY)
creation("vault: cancel_delay is above 365 days", cancel_delay=365 * 86_400 + 1)
creation("vault: cancel_delay is not above settle_window + finality", cancel_delay=WINDOW + FINALITY)
creation("vault: arbiter is not a contract", arbiter=addresses([ALICE])[0])
creation("vault: no token", tokens=[])
creation("vault: token is not a contract", tokens=[(addresses([ALICE])[0], 1)])
CREATIONS["vault: quantum is zero"] = lambda world: {"tokens": [(world.tokens[0].address, 0)]}
CREATIONS["vault: quantum is 2**128 or more"] = lambda world: {"tokens": [(world.tokens[0].address, 2**128)]}
CREATIONS["vault: token is registered twice"] = lambda world: {
    "tokens": [(world.tokens[0].address, 1), (world.tokens[0].address, 2)]
}


@pytest.mark.parametrize("reason", CREATIONS)
def test_creation_refused_with_its_reason(world: World, reason: str) -> None:
    assert world.creation_reason(*world.terms(**CREATIONS[reason](world))) == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"finality": 2**256 - 1},
        {"settle_window": 2**256 - 1},
        {"settle_window": 2**255, "finality": 2**255},
        {"withdraw_delay": 2**256 - 1},
    ],
)
def test_terms_that_overflow_are_refused(world: World, changes: dict[str, int]) -> None:
    artifact = contracts.load("Vault")
    with pytest.raises(AssertionError, match="creation reverted"):
        world.deploy(artifact.abi, artifact.bytecode, *world.terms(**changes))
