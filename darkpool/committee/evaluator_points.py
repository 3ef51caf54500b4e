"""MPyC's sharings at the members' own points, and its zero test without its leak.

**Points.** MPyC's party number pid holds f(pid + 1). Members keep their points whoever plays, so here the
player with party number pid holds f(players[pid]). In MPyC every point passes through `mpyc.thresha`, whose
functions its runtime looks up at each call. Three kinds are wrapped there:

    random_split, np_random_split         shares for all points up to the last player's; the players' are kept
    _recombination_vector                 the points shares come from, pid + 1, become the players'; where the
                                          result is wanted, 0 or a player's point, stays
    pseudorandom_share(_zero),            party i's point i + 1 becomes players[i]
    np_pseudorandom_share(_0)

Interpolation in both `recombine`s and in `_f_S_i`, which pseudo-random sharing is made of, goes through
`_recombination_vector`. Both caches, this one's and that of `_f_S_i`, are filled after the change: a process
has one list of players. `mpyc.secgroups` holds the unwrapped vector; nothing here uses it.

**Zero test.** `np_is_zero_public`, part of each comparison, opens a * r for a random r. Both are of degree t,
so the opened polynomial a(X) * r(X) can be factored, and whoever has one share of a finds a itself among the
factors: in a comparison a tells about the compared value. Here a fresh sharing of zero of degree 2t is added,
and the opened polynomial says nothing but whether a = 0 (as MPyC itself does for small fields and for bits).

Nothing of this is MPyC's interface, so `adapt` checks names and signatures before, and after it that our own
Shamir sharing (commitments/shamir.py) agrees with MPyC's. Another MPyC is refused, never used as it is.
"""

from __future__ import annotations

import inspect
import secrets
from asyncio import Future
from collections.abc import Callable
from itertools import combinations
from typing import Any, Final

from commitments.errors import ParameterError, VerificationError
from commitments.params import FIELD_PRIME
from commitments.shamir import reconstruct
from darkpool.committee.evaluator_frames import Start

_SPLIT: Final = "(field, s, t, m)"
_VECTOR: Final = "(field, xs, x_r)"
_SHARE: Final = "(field, m, i, prfs, uci, n)"
REPLACED: Final = {
    "random_split": _SPLIT,
    "np_random_split": _SPLIT,
    "_recombination_vector": _VECTOR,
    "pseudorandom_share": _SHARE,
    "pseudorandom_share_zero": _SHARE,
    "np_pseudorandom_share": _SHARE,
    "np_pseudorandom_share_0": _SHARE,
}

Function = Callable[..., Any]


def adapt(runtime: Any, thresha: Any, me: Start) -> None:  # noqa: ANN401  MPyC has no types
    """Change MPyC's sharing module and this runtime as above; once per process, before any evaluation.

    Raises ParameterError if MPyC is not the one this was written for, VerificationError if what it makes of
    shares is not what we do.
    """
    _check_signature(runtime, "np_is_zero_public", "(a)")
    place(thresha, me.players)
    field = runtime.SecInt(p=FIELD_PRIME).field
    check(thresha, field, me)
    runtime.np_is_zero_public = _zero_test(runtime, thresha)


def place(thresha: Any, players: tuple[int, ...]) -> None:  # noqa: ANN401  as above
    """Wrap the functions of MPyC's sharing module. Raises ParameterError if one is missing or another."""
    at = (0, *players)

    def split(original: Function) -> Function:
        def placed(field: Any, s: Any, t: int, m: int) -> list[Any]:  # noqa: ANN401
            del m
            shares = original(field, s, t, players[-1])
            return [shares[x - 1] for x in players]

        return placed

    def vector(original: Function) -> Function:
        return lambda field, xs, x_r: original(field, tuple(at[x] for x in xs), x_r)

    def share(original: Function) -> Function:
        return lambda field, m, i, prfs, uci, n: original(field, m, players[i] - 1, prfs, uci, n)

    wrappers = {_SPLIT: split, _VECTOR: vector, _SHARE: share}
    for name, signature in REPLACED.items():
        _check_signature(thresha, name, signature)
    for name, signature in REPLACED.items():
        setattr(thresha, name, wrappers[signature](getattr(thresha, name)))


def check(thresha: Any, field: Any, me: Start) -> None:  # noqa: ANN401  as above
    """Raises VerificationError unless all of these are sharings at the players' points.

    1. a split of a random secret, of degree t, which MPyC recombines as we do;
    2. its pseudo-random sharing, of degree t;
    3. its pseudo-random sharing of zero, of degree 2t.
    """
    secret, m = secrets.randbelow(FIELD_PRIME), len(me.players)

    def value(shares: list[Any], degree: int) -> int:
        return reconstruct({x: int(s) for x, s in zip(me.players, shares, strict=True)}, me.n, degree)

    # 1.
    shares = [row[0] for row in thresha.np_random_split(field, field.array([secret]), me.t, m)]
    (recombined,) = thresha.np_recombine(
        field, [(pid + 1, [share]) for pid, share in enumerate(shares)]
    ).value
    if not value(shares, me.t) == secret == recombined:
        raise VerificationError("points", "MPyC splits or recombines otherwise; install the locked version")
    # 2. and 3.
    key = {s: thresha.PRF(secrets.token_bytes(16), FIELD_PRIME) for s in combinations(range(m), m - me.t)}
    own = [{s: prf for s, prf in key.items() if pid in s} for pid in range(m)]
    random = [thresha.np_pseudorandom_share(field, m, pid, own[pid], b"", 1).value[0] for pid in range(m)]
    zero = [thresha.np_pseudorandom_share_0(field, m, pid, own[pid], b"", 1).value[0] for pid in range(m)]
    total = sum(int(prf(b"", 1)[0]) for prf in key.values()) % FIELD_PRIME
    if value(random, me.t) != total or value(zero, 2 * me.t):
        raise VerificationError("points", "MPyC makes random shares otherwise; install the locked version")


def _zero_test(runtime: Any, thresha: Any) -> Function:  # noqa: ANN401  as above
    from mpyc.asyncoro import mpc_coro

    async def np_is_zero_public(a: Any) -> Future:  # type: ignore[type-arg]  # noqa: ANN401  MPyC reads this
        """Public [a = 0], elementwise; see above."""
        field, n = type(a).sectype.field, a.size
        r = runtime._np_randoms(field, n)  # noqa: SLF001  zero with a chance of 2^-128
        zero = thresha.np_pseudorandom_share_0(
            field,
            len(runtime.parties),
            runtime.pid,
            runtime.prfs(field.order),
            runtime._prss_uci(),  # noqa: SLF001
            n,
        )
        values = (await runtime.gather(a)).reshape(-1)
        opened = await runtime.output(values * r + zero, threshold=2 * runtime.threshold)
        return (opened == 0).reshape(a.shape)  # type: ignore[no-any-return]

    replacement: Function = mpc_coro(np_is_zero_public)
    return replacement


def _check_signature(holder: Any, name: str, due: str) -> None:  # noqa: ANN401
    function = getattr(holder, name, None)
    found = f"({', '.join(inspect.signature(function).parameters)})" if callable(function) else " is missing"
    if found != due:
        raise ParameterError(f"MPyC: {name}{found}, where {name}{due} is due; install the locked version")
