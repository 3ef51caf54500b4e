"""What the vault's calls cost, measured in this process: `python -m tests.gas [--check]`.

Writes contracts/gas.json and docs/gas.md, or compares them with what is measured now. Times, keys and amounts
are fixed, so the numbers are the same everywhere, to the last unit.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from darkpool.settlement import Delta, NullifierRow, delta_rows, nullifier_rows
from darkpool.types import Address, Nonce, PrivateKey, TokenIndex
from tests.contracts.world import (
    ALICE,
    BOB,
    COMMITTEE_DELAY,
    DELAY,
    GUARDIAN,
    MEMBERS,
    QUANTA,
    World,
    address_of,
    addresses,
    key,
)

ROOT: Final = Path(__file__).parent.parent
SNAPSHOT: Final = ROOT / "contracts" / "gas.json"
PAGE: Final = ROOT / "docs" / "gas.md"

ORDERS: Final = 10
"""Orders of each account in a settlement."""

TRANSACTION_LIMIT: Final = 1 << 24
"""EIP-7825."""

STAGES: Final = {
    "empty": "accounts that never held the tokens or traded",
    "first": "accounts that hold the tokens, and trade with nonces of words not used before",
    "used": "balances and words in use",
}
STAGE_TITLES: Final = {"used": "In use", "first": "First trade", "empty": "All empty"}


@dataclass(frozen=True)
class Case:
    """A settlement's size: accounts, nullifier words of each, tokens that move."""

    accounts: int
    words: int
    tokens: int

    @property
    def rows(self) -> tuple[int, int]:
        return self.accounts * self.tokens, self.accounts * self.words


CASES: Final = (
    *(Case(accounts, 1, 2) for accounts in (2, 10, 100, 101, 250)),
    *(Case(100, words, 2) for words in (2, 3)),
    *(Case(100, 1, tokens) for tokens in (4, 8)),
)
MARKET: Final = Case(100, 1, 2)
"""The settlement that the limits are about: 100 accounts and 1,000 orders of one market."""

FURTHER: Final = Case(101, 1, 2)
LIMITS: Final = {"used": 2_000_000, "first": 3_800_000, "further": 20_000}
"""Gas at most: of MARKET, and of the 101st account."""


@cache
def traders(count: int) -> tuple[Address, ...]:
    return tuple(address_of(key(10_000 + i)) for i in range(count))


def rows(case: Case, stage: str) -> tuple[tuple[Delta, ...], tuple[NullifierRow, ...]]:
    """The rows of a case; the stages, in this order, make each what its description says."""
    rng = random.Random(f"{case} {stage}")
    first, *others = traders(case.accounts)
    nets: dict[tuple[TokenIndex, Address], int] = {}
    for token in map(TokenIndex, range(case.tokens)):
        for other in others:
            # At the first stage they get much, afterwards they may lose a part of it.
            nets[token, other] = rng.randrange(10**9, 10**10) * (
                100 if stage == "empty" else rng.choice((1, -1))
            )
        nets[token, first] = -sum(nets[token, other] for other in others)
    start = {"empty": 0, "first": 4 * 256, "used": 4 * 256 + ORDERS}[stage]
    spent = [
        (trader, Nonce(start + 256 * (i % case.words) + i // case.words))
        for trader in traders(case.accounts)
        for i in range(ORDERS)
    ]
    return delta_rows(nets), nullifier_rows(spent)


def measured() -> dict[str, Any]:
    """Gas of everything: `settle` by case and stage, and the other calls."""
    world = World()
    calls = measured_calls(world)
    snapshot = world.tester.take_snapshot()
    world.tokens = [world.deploy_artifact("TestToken", f"T{i}", "T", 6) for i in range(8)]
    world.use(world.deploy_artifact("Vault", *world.terms(tokens=[(t.address, 1) for t in world.tokens])))
    giver = key(10_000)
    endow(world, giver)
    settle: list[dict[str, int]] = []
    for case in CASES:
        inside = world.tester.take_snapshot()
        entry = {"accounts": case.accounts, "words": case.words, "tokens": case.tokens}
        for stage in STAGES:
            deltas, nullifiers = rows(case, stage)
            settlement = world.settlement(deltas=deltas, nullifiers=nullifiers)
            entry[stage] = world.done(None, "settle", *world.signed(settlement)).gas
        settle.append(entry)
        world.tester.revert_to_snapshot(inside)
    world.tester.revert_to_snapshot(snapshot)
    return {"settle": settle, "calls": calls}


def endow(world: World, giver: PrivateKey) -> None:
    """Much of every token in the vault, of the first trader."""
    world.tester.add_account("0x" + giver.hex())
    fund: Any = {"from": world.deployer, "to": addresses([giver])[0], "value": 10**20, "gas": 21_000}
    world.web3.eth.send_transaction(fund)
    for number, token in enumerate(world.tokens):
        world.send(None, token, "mint", *addresses([giver]), 10**18)
        world.send(giver, token, "approve", world.vault.address, 10**18)
        world.done(giver, "deposit", number, 10**18)


def measured_calls(world: World) -> dict[str, int]:
    """Gas of each other call, with a plain ERC-20 token."""
    snapshot = world.tester.take_snapshot()
    for account in (ALICE, BOB):
        for number, token in enumerate(world.tokens):
            world.send(None, token, "mint", *addresses([account]), 1_000 * QUANTA[number])
            world.send(account, token, "approve", world.vault.address, 1_000 * QUANTA[number])
    world.done(BOB, "deposit", 0, 1)
    found = {
        "deposit, the account's first": world.done(ALICE, "deposit", 0, 100).gas,
        "deposit, further": world.done(ALICE, "deposit", 0, 100).gas,
        "request_withdrawal": world.done(ALICE, "request_withdrawal", 0, 50).gas,
        "request_withdrawal, again": world.done(ALICE, "request_withdrawal", 0, 60).gas,
        "request_cancel": world.done(ALICE, "request_cancel", 0, 0b11).gas,
        "propose_committee, 5 members": world.done(None, "propose_committee", *world.proposal()).gas,
    }
    world.wait(max(DELAY, COMMITTEE_DELAY))
    found |= {
        "withdraw": world.done(ALICE, "withdraw", 0).gas,
        "finalize_cancel, word not used before": world.done(ALICE, "finalize_cancel", 0).gas,
        "pause_settling": world.done(GUARDIAN, "pause_settling").gas,
        "resume_settling": world.done(GUARDIAN, "resume_settling").gas,
        "settle, without rows": world.done(
            None, "settle", *world.signed(world.settlement(), MEMBERS[:3])
        ).gas,
        "activate_committee, 5 members": world.done(None, "activate_committee").gas,
    }
    world.tester.revert_to_snapshot(snapshot)
    return found


def of(document: Mapping[str, Any], case: Case, stage: str) -> int:
    """The gas of a case in a document of `measured`."""
    (found,) = (
        entry[stage]
        for entry in document["settle"]
        if Case(entry["accounts"], entry["words"], entry["tokens"]) == case
    )
    return int(found)


def problems(document: Mapping[str, Any]) -> list[str]:
    """The limits that a document breaks, one line each."""
    from darkpool.settlement_gas import estimate

    found = {stage: of(document, MARKET, stage) for stage in ("used", "first")}
    found["further"] = of(document, FURTHER, "used") - found["used"]
    broken = [
        f"{name}: {gas:,}, at most {LIMITS[name]:,}" for name, gas in found.items() if gas > LIMITS[name]
    ]
    for case in CASES:
        bound = estimate(*case.rows)
        dearest = max(of(document, case, stage) for stage in STAGES)
        if dearest > bound:
            broken.append(f"{case}: {dearest:,}, above the estimate {bound:,}")
    return broken


def page(document: Mapping[str, Any]) -> str:
    """docs/gas.md."""
    used, first = (of(document, MARKET, stage) for stage in ("used", "first"))
    more, more_first = of(document, FURTHER, "used") - used, of(document, FURTHER, "first") - first
    lines = [
        "# Gas",
        "",
        "Made by `make gas`, compared by `make check`. Measured with py-evm, 10 orders an account, 3 of 4",
        f"members signing. {used:,} gas for 100 accounts and 1,000 orders of one market, {first:,} at their",
        f"first trade; a further account takes {more:,}, at its first trade {more_first:,}.",
        f"A transaction may take {TRANSACTION_LIMIT:,} (EIP-7825).",
        "",
        "| Accounts | Words each | Tokens | Delta rows | Nullifier rows | In use | First trade | All empty |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for case in CASES:
        figures: Sequence[int] = (
            *(case.accounts, case.words, case.tokens, *case.rows),
            *(of(document, case, stage) for stage in ("used", "first", "empty")),
        )
        lines.append("| " + " | ".join(f"{figure:,}" for figure in figures) + " |")
    lines += [
        "",
        *(f"* *{STAGE_TITLES[stage]}*: {text}." for stage, text in STAGES.items()),
        "",
        "Four tokens' balances of an account share a storage word, as do 256 order nonces; so what counts is",
        "the words touched and whether they were zero, more than the rows.",
        "",
        "| Call | Gas |",
        "|---|--:|",
        *(f"| {name} | {gas:,} |" for name, gas in document["calls"].items()),
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the snapshot and its page, or with `--check` say what differs and return 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.gas", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    check = parser.parse_args(arguments).check
    document = measured()
    broken = problems(document)
    files = {SNAPSHOT: json.dumps(document, indent=2) + "\n", PAGE: page(document)}
    if check:
        broken += [
            f"{path.relative_to(ROOT)}: not what is measured now; if that is meant, run `make gas`"
            for path, text in files.items()
            if not path.exists() or path.read_text() != text
        ]
    for line in broken:
        print(f"error: gas: {line}", file=sys.stderr)
    if broken:
        return 1
    if not check:
        for path, text in files.items():
            path.write_text(text)
    print(f"gas of {len(CASES)} settlements and {len(document['calls'])} calls", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
