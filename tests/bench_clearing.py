"""Clearing: openings by all members, and the auction rule against price levels and members."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Sequence
from functools import partial as partial_of

from gmpy2 import mpz

from commitments.paillier import Ciphertext, PublicKey, fresh_randomness
from commitments.params import PRODUCTION
from commitments.prss import Mask, MaskSet, mask, mask_sets
from commitments.threshold import Opening, combine, partial, verify_openings
from darkpool.committee.seat import Seat
from tests.bench_scale import Scale
from tests.evaluator_trio import Trio, plain_rule
from tests.figures import Figure, Part, Series, median_ms

TOGETHER = 21  # openings of one step: each of three members combines seven
_SLOTS = 8
_MIDDLE = 64  # levels of the auctions against members
_MOST_LOTS = 1 << 20
_SECOND = 1_000


def openings(scale: Scale, seats: Sequence[Seat]) -> Part:
    """Partial decryption, combination, checks; and one opening's work of all members together."""
    committee, key = seats[0].committee, seats[0].committee.key
    ciphertexts = [key.encrypt(secrets.randbelow(int(key.n)), fresh_randomness()) for _ in range(TOGETHER)]
    c = ciphertexts[0]
    chosen = seats[: committee.threshold + 1]
    partials = {seat.index: partial(committee, seat.share, c) for seat in chosen}
    opened = [(c, combine(committee, c, partials))] * TOGETHER
    production = scale.profile is PRODUCTION
    runs = scale.runs
    points = []
    for count in (1, TOGETHER // 3, TOGETHER):
        cpu = [_cpu_ms(seats, ciphertexts[:count]) for _ in range(min(runs, 3))]
        points.append((count, min(cpu)))
    together = points[-1][1] / TOGETHER
    return Part(
        [
            Figure(
                "partial decryption", median_ms(runs, lambda: partial(committee, seats[0].share, c)), "ms"
            ),
            Figure(
                "combination, with its check", median_ms(runs, lambda: combine(committee, c, partials)), "ms"
            ),
            Figure(
                f"checking an opening, in a batch of {TOGETHER}",
                median_ms(runs, lambda: verify_openings(key, opened)) / TOGETHER,
                "ms",
            ),
            Figure(
                f"an opening, CPU of all members together, {TOGETHER} in a step",
                together,
                "ms",
                70 if production else None,
            ),
        ],
        [
            Series(
                "openings in a step, CPU of all members", "openings", "ms", tuple(points), "1: each its own"
            )
        ],
    )


def _cpu_ms(seats: Sequence[Seat], ciphertexts: Sequence[Ciphertext]) -> float:
    """CPU of what all members do to open those products in one step, without their messages."""
    key = seats[0].committee.key
    names = [b"bench/%d" % i for i in range(len(ciphertexts))]
    started = time.process_time()
    masked = list(ciphertexts)
    for seat in seats:
        masks = [
            {a: mask(k, 1, bytes(32), name, _SLOTS) for a, k in seat.masks.keys.items()} for name in names
        ]
        masked = _masked(seats, key, ciphertexts, masks, seat.index, masked)
    found: dict[int, Opening] = {}
    for position, c in enumerate(masked):
        chosen = [seats[(position + k) % len(seats)] for k in range(seats[0].committee.threshold + 1)]
        partials = {seat.index: partial(seat.committee, seat.share, c) for seat in chosen}
        found[position] = combine(seats[0].committee, c, partials)
    for seat in seats:
        others = [(masked[p], o) for p, o in found.items() if seats[p % len(seats)] is not seat]
        verify_openings(key, others)
    return _SECOND * (time.process_time() - started)


def _masked(
    seats: Sequence[Seat],
    key: PublicKey,
    ciphertexts: Sequence[Ciphertext],
    masks: Sequence[dict[MaskSet, Mask]],
    index: int,
    masked: list[mpz],
) -> list[mpz]:
    """One member's mask ciphertexts; each set's first member's are multiplied in."""
    sets = mask_sets(len(seats), seats[0].committee.threshold)
    for position in range(len(ciphertexts)):
        for a, own in masks[position].items():
            encrypted = own.ciphertext(key)
            if a in sets and a[0] == index:
                masked[position] = masked[position] * encrypted % key.n2
    return masked


def auction(scale: Scale, seats: Sequence[Seat]) -> Part:
    """The rule under MPC, all members on this machine, each with its child."""
    del seats  # the field of the shares is the same in every profile
    by_levels = [(levels, _auction_ms(scale.runs, levels, 3, 1)) for levels in scale.levels]
    by_members = [(n, _auction_ms(scale.runs, _MIDDLE, n, t)) for n, t in scale.committees]
    figures = [
        Figure(
            f"auction, T = {levels}, three members", ms / _SECOND, "s", 0.45 if levels == _MIDDLE else None
        )
        for levels, ms in by_levels
    ]
    figures += [
        Figure(f"auction, T = {_MIDDLE}, n = {n}, t = {t}", ms / _SECOND, "s")
        for (n, t), (_, ms) in zip(scale.committees, by_members, strict=True)
        if n > 3
    ]
    some_ms = _auction_ms(scale.runs, _MIDDLE, 4, 1, (2, 3, 4))
    figures.append(Figure(f"auction, T = {_MIDDLE}, n = 4, t = 1, three play", some_ms / _SECOND, "s"))
    return Part(
        figures,
        [
            Series(
                "auction against levels", "T", "ms", tuple(by_levels), "below 1: T comparisons, few rounds"
            ),
            Series(
                "auction against members", "n", "ms", tuple(by_members), "2: everybody sends to everybody"
            ),
        ],
    )


def _auction_ms(runs: int, levels: int, n: int, t: int, players: tuple[int, ...] | None = None) -> float:
    trio = Trio(n, t, players)
    try:
        trio.run(trio.restart())
        rng = random.Random(levels)
        steps = [rng.randrange(_MOST_LOTS) for _ in range(2 * levels)]
        demand = [sum(steps[i:levels]) for i in range(levels)]
        supply = [sum(steps[levels : levels + i + 1]) for i in range(levels)]
        public = (levels, levels // 2, 0, 1)
        expected = list(plain_rule(demand, supply, levels // 2, 0, 1))
        if trio.evaluate("auction", public, demand + supply) != expected:
            raise RuntimeError("the evaluated auction differs from the plain rule")
        return median_ms(runs, partial_of(trio.evaluate, "auction", public, demand + supply))
    finally:
        trio.end()
