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

from darkpool.contest import Case as ContestCase
from darkpool.contest import SettledRecord
from darkpool.eip712 import keccak256
from darkpool.settlement import MAX_ROWS, Delta, NullifierRow, delta_rows, nullifier_rows
from darkpool.types import Address, Nonce, PrivateKey, TokenIndex, parse_address
from tests.contracts.contest_ground import Ground, Made, a_round
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

DEAREST: Final = "unwind, dearest"

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
    Case(100, 1, 4),
    Case(64, 1, 8),
)
MARKET: Final = Case(100, 1, 2)
"""The settlement that the limits are about: 100 accounts and 1,000 orders of one market."""

FURTHER: Final = Case(101, 1, 2)
LIMITS: Final = {"used": 2_000_000, "first": 3_800_000, "further": 20_000, "contested order": 120_000}
"""Gas at most: of MARKET, of its 101st account, of each further order that a contest shows."""

CONTESTED: Final = (1, 8, 32)
"""Orders that an account shows, in a list of LISTED and a settlement of MARKET's rows."""

LISTED: Final = 1_000
ORDER_BYTES: Final = 17_000
"""Of an order at production size, as a refutation shows it."""


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
    contests, more = measured_contests(world)
    world.tester.revert_to_snapshot(snapshot)
    return {"settle": settle, "contests": contests, "calls": calls | more}


def contested(world: World, count: int) -> tuple[Ground, ContestCase, list[Made]]:
    """A settlement of MARKET's size in which so many orders of an account were consumed."""
    account = key(10_001)
    tokens = tuple(parse_address(token.address) for token in world.tokens)
    orders = [
        Made(account, i, 6, 1, (3 * i + 1, 3 * i + 2), length=ORDER_BYTES, tokens=tokens)
        for i in range(count)
    ]
    made = a_round(orders, 3, strangers=LISTED - count)
    deltas, nullifiers = rows(MARKET, "empty")
    mine = nullifier_rows((address_of(account), Nonce(i)) for i in range(count))
    others = [row for row in nullifiers if row.account != address_of(account)]
    settlement = world.settlement(
        deltas=deltas,
        nullifiers=tuple(sorted([*others, *mine], key=lambda row: row.key)),
        transcript=keccak256(made.words.hash),
    )
    at = world.now()
    world.done(None, "settle", *world.signed(settlement))
    s = settlement
    record = SettledRecord(s.id, at, s.root, s.transcript, s.deltas, s.nullifiers)
    return Ground(world), ContestCase.of(record, [made.words], made.listed(0)), orders


def measured_contests(world: World) -> tuple[list[dict[str, int]], dict[str, int]]:
    """Gas of `contest` by the number of orders shown, and of what else a contest takes."""
    account = key(10_001)
    world.tester.add_account("0x" + account.hex())
    gift: Any = {"from": world.deployer, "to": addresses([account])[0], "value": 10**20, "gas": 21_000}
    world.web3.eth.send_transaction(gift)
    found, unwound = [], 0
    for count in CONTESTED:
        inside = world.tester.take_snapshot()
        ground, case, orders = contested(world, count)
        gas = ground.contest(account, ground.found(case, account, orders))
        found.append({"orders": count, "gas": gas})
        unwound = ground.unwind(case)
        world.tester.revert_to_snapshot(inside)
    inside = world.tester.take_snapshot()
    ground, case, orders = contested(world, 2)
    place = [world.vault.address, case.record.id, addresses([account])[0]]
    ground.contest(account, ground.found(case, account, orders[:1]))
    refuted = world.tester.take_snapshot()
    refutation = ground.done(ALICE, "refute_order", *ground.refutation(case, 0, orders[1], 1, [0]))
    world.tester.revert_to_snapshot(refuted)
    world.wait(DELAY // 4)
    upheld = ground.done(ALICE, "uphold", *place)
    world.tester.revert_to_snapshot(inside)
    dearest = dearest_unwind(world, account)
    world.tester.revert_to_snapshot(inside)
    return found, {
        "unwind, 100 accounts": unwound,
        DEAREST: dearest,
        "uphold": upheld,
        f"refute_order, {ORDER_BYTES:,} bytes": refutation,
    }


def dearest_unwind(world: World, account: PrivateKey) -> int:
    """Gas of `unwind` where every balance but one had fallen to zero, so that its storage is written anew."""
    receiver, dust = address_of(key(10_000)), traders(MAX_ROWS)[1:]
    token = TokenIndex(len(world.tokens) - 1)  # in which nobody else has a balance

    def moved(amount: int) -> tuple[Delta, ...]:
        nets = dict.fromkeys(((token, account) for account in dust), amount)
        return delta_rows(nets | {(token, receiver): -amount * len(dust)})

    world.done(None, "settle", *world.signed(world.settlement(deltas=moved(1))))
    s = world.settlement(deltas=moved(-1))
    at = world.now()
    world.done(None, "settle", *world.signed(s))
    case = ContestCase(SettledRecord(s.id, at, s.root, s.transcript, s.deltas, s.nullifiers))
    ground = Ground(world)
    ground.contest(account, ground.found(case, account, []))
    return ground.unwind(case)


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
    first, *_, last = document["contests"]
    shown = last["orders"] - first["orders"]
    found["contested order"] = (last["gas"] - first["gas"]) // shown
    broken = [
        f"{name}: {gas:,}, at most {LIMITS[name]:,}" for name, gas in found.items() if gas > LIMITS[name]
    ]
    if document["calls"][DEAREST] > TRANSACTION_LIMIT:
        broken.append(f"{DEAREST}: {document['calls'][DEAREST]:,}, at most {TRANSACTION_LIMIT:,}")
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
        f"A contest in a settlement of {MARKET.accounts} accounts, of a list of {LISTED:,} orders:",
        "",
        "| Orders shown | Gas |",
        "|--:|--:|",
        *(f"| {row['orders']} | {row['gas']:,} |" for row in document["contests"]),
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
    print(
        f"gas of {len(CASES)} settlements, {len(CONTESTED)} contests and {len(document['calls'])} calls",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
