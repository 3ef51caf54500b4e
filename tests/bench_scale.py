"""How much a benchmark measures: to see that it works, for the table, for the whole page."""

from __future__ import annotations

from dataclasses import dataclass

from commitments.params import INSECURE_TEST, PRODUCTION, Profile


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of every part.

    batches: orders verified or summed together; levels: T of auctions; committees: (n, t) of auctions;
    rounds: (orders, accounts); reports: orders of an auditor's report; service: orders over HTTP, a multiple
    of 128; books: orders of books cleared in the other ways too.
    """

    profile: Profile
    runs: int
    batches: tuple[int, ...]
    levels: tuple[int, ...]
    committees: tuple[tuple[int, int], ...]
    rounds: tuple[tuple[int, int], ...]
    reports: tuple[int, ...]
    service: int
    books: tuple[int, ...]


QUICK = Scale(
    profile=INSECURE_TEST,
    runs=2,
    batches=(1, 2, 4),
    levels=(4, 8, 16),
    committees=((3, 1),),
    rounds=((8, 2), (16, 2), (16, 4)),
    reports=(2, 4, 8),
    service=128,
    books=(4, 8, 16),
)
TABLE = Scale(
    profile=PRODUCTION,
    runs=5,
    batches=(1, 8, 32, 128),
    levels=(64,),
    committees=((3, 1),),
    rounds=((100, 10), (1_000, 100)),
    reports=(200,),
    service=1_280,
    books=(100,),
)
FULL = Scale(
    profile=PRODUCTION,
    runs=9,
    batches=(1, 8, 32, 128, 512),
    levels=(8, 16, 32, 64, 128, 256),
    committees=((3, 1), (4, 1), (5, 1), (5, 2)),
    rounds=((100, 10), (300, 10), (1_000, 10), (3_000, 10), (300, 30), (300, 100), (1_000, 100)),
    reports=(100, 300, 1_000),
    service=5_120,
    books=(30, 100, 300),
)
SCALES = {"quick": QUICK, "table": TABLE, "full": FULL}
