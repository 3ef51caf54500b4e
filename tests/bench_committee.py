"""What a committee of three, four and five costs: processor time of each member, traffic, steps, blame."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from commitments.params import Profile
from darkpool.committee import status
from darkpool.committee.members import MODULE
from darkpool.committee.seat import Seat, ceremony
from darkpool.house import House, open_house
from darkpool.order import Order
from darkpool.plan import Options
from darkpool.run import THRESHOLD, Desk, RoundOutcome, Run
from darkpool.types import Tick
from tests.bench_orders import LEVELS
from tests.bench_rounds import book_of
from tests.bench_scale import Scale
from tests.encrypted import plan_of
from tests.faulty_member import FAULT, set_fault
from tests.figures import Figure, Part, Series

COMMITTEES = (3, 4, 5)
_LIAR = 2
_TICKS = os.sysconf("SC_CLK_TCK")
_FIELDS = slice(11, 15)  # of /proc/PID/stat after the name: its times and those of its ended children
_GROUP = 2
_STEP_SECONDS = 600
_NOTES = (
    "Each round was run once: its list cannot be cleared again.",
    (
        "A step's share is of all that came since the step before it: the auction counts as crosses, the "
        "comparisons as cut and nets."
    ),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One round: wall seconds; per member processor seconds and bytes to and from its peers; seconds by step.

    Processor time is from before the round is sealed until it is certified, with the evaluator's; orders were
    verified before.
    """

    seconds: float
    cpu: Mapping[int, float]
    octets: Mapping[int, int]
    steps: Mapping[str, float]


class _Watched(Run):
    """A run that looks at the members before and after its round."""

    measured: Measured
    homes: Sequence[Path]

    async def _close(self, house: House) -> tuple[RoundOutcome | None, list[tuple[Desk, Order]]]:
        committee, pids = house.engine.committee, house.members.pids
        await committee.ready(house.engine.log.size, house.chain.epoch())
        before, told = _cpu(pids), [await status.ask(home) for home in self.homes]
        closed = await super()._close(house)
        cpu = {index: seconds - before[index] for index, seconds in _cpu(pids).items()}
        tell = [await status.ask(home) for home in self.homes]
        octets = {t["member"]: t["peer_bytes"] - b["peer_bytes"] for t, b in zip(tell, told, strict=True)}
        if closed[0] is None:
            raise RuntimeError("there was nothing to seal")
        self.measured = Measured(closed[0].closed.seconds, cpu, octets, tell[0]["took"])
        return closed


def _cpu(pids: Mapping[str, int]) -> dict[int, float]:
    """Processor seconds of every member so far: each leads a process group of its own."""
    members = {pid: int(name.removeprefix("member-")) for name, pid in pids.items()}
    found = Counter[int]()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[_GROUP]) in members:
            found[members[int(fields[_GROUP])]] += sum(map(int, fields[_FIELDS]))
    return {index: ticks / _TICKS for index, ticks in found.items()}


def measured(
    profile: Profile, seats: Sequence[Seat], orders: int, accounts: int, fault: str = ""
) -> Measured:
    """One such round, compared with the plain auction and the chain on the way; member 2 with that fault."""
    prepared = plan_of(LEVELS, [(Tick(LEVELS // 2), book_of(orders, accounts))])
    run = _Watched(prepared, Options("0.01", profile, levels=LEVELS))
    modules = ["tests.faulty_member" if fault and s.index == _LIAR else MODULE for s in seats]

    async def go(home: Path) -> None:
        run.homes = [home / f"member-{seat.index}" for seat in seats]
        async with open_house(seats, home, modules=modules, clear_timeout=_STEP_SECONDS) as house:
            await run.execute(house)

    with tempfile.TemporaryDirectory(prefix="dp-bench-") as folder:
        os.environ[FAULT] = f"{folder}/fault"
        set_fault(Path(folder, "fault"), fault)
        asyncio.run(go(Path(folder)))
    return run.measured


def committees(scale: Scale, seats: Sequence[Seat]) -> Part:
    """The smallest and the largest round of the scale by n; what each step takes; what a lie costs."""
    figures, series = [], []
    dealt = {n: seats if n == len(seats) else ceremony(scale.profile, n, THRESHOLD) for n in COMMITTEES}
    for orders, accounts in (scale.rounds[0], scale.rounds[-1]):
        name, found = f"{orders:,} orders, {accounts} accounts", {}
        for n in COMMITTEES:
            found[n] = one = measured(scale.profile, dealt[n], orders, accounts)
            figures += [
                Figure(f"{name}, n = {n}: sealed list to signatures", one.seconds, "s"),
                Figure(f"{name}, n = {n}: processor time of a member", mean(one.cpu.values()), "s"),
                Figure(f"{name}, n = {n}: a member to and from peers", mean(one.octets.values()) / 1e6, "MB"),
            ]
        points = tuple((n, sum(one.cpu.values())) for n, one in found.items())
        claim = "between 1 and 2: openings are shared out, masks and messages are to all"
        series.append(Series(f"{name}: processor time of all members", "n", "s", points, claim))
        four, total = found[4], sum(found[4].steps.values())
        figures += [
            Figure(f"{name}, n = 4: share of {step}", 100 * seconds / total, "%")
            for step, seconds in four.steps.items()
        ]
        lied = measured(scale.profile, dealt[4], orders, accounts, "wrong_partial")
        more = sum(lied.cpu.values()) - sum(four.cpu.values())
        figures += [
            Figure(f"{name}, n = 4: a wrong partial decryption, longer by", lied.seconds - four.seconds, "s"),
            Figure(f"{name}, n = 4: a wrong partial decryption, more processor time", more, "s"),
        ]
    return Part(figures, series, _NOTES)
