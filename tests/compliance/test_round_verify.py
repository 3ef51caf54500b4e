"""Any round verified from what is public: an honest one holds, and one changed in any item does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.app import create_app
from commitments.errors import CommitmentsError
from compliance.audit_file import AuditedRound, sealed_json
from compliance.audit_outcome import Check, Outcome
from compliance.round_client import RoundClient
from compliance.round_file import RoundFile
from compliance.round_verify import exit_code, verify_round
from darkpool.cli.app import app
from darkpool.client.shells import Concurrent
from darkpool.listing import NO_CROSS
from darkpool.message import Message
from darkpool.results import read_result
from tests.client.test_settlements import pair
from tests.compliance.audited import (
    LISTS,
    MARKET,
    certified,
    crossing,
    market_json,
    orders,
    settled,
    settlement_of,
    view,
)


@cache
def honest() -> RoundFile:
    """Round 5 of three orders, which crossed and is on chain."""
    listed, result = view(5), crossing()
    row = AuditedRound(MARKET, 5, sealed_json(listed), certified(listed, result))
    raws = {orders()[name].hash: orders()[name].raw for name in LISTS[5][0]}
    return RoundFile(
        1, "chain 1", {MARKET: market_json()}, (row,), settled(settlement_of(listed, result)), raws
    )


def by_name(file: RoundFile) -> dict[str, Check]:
    return {check.name: check for check in verify_round(file)}


def test_an_honest_round_holds_in_every_point() -> None:
    checks = verify_round(honest())
    assert [(c.name, c.outcome, c.count) for c in checks] == [
        ("list", Outcome.HOLDS, 3),
        ("orders", Outcome.HOLDS, 3),
        ("proofs", Outcome.HOLDS, 3),
        ("result", Outcome.HOLDS, 2),
        ("conservation", Outcome.HOLDS, 2),
        ("settlement", Outcome.HOLDS, 1),
        ("chain", Outcome.HOLDS, 1),
    ]
    assert exit_code(checks) == 0
    assert RoundFile.decode(honest().encode()).encode() == honest().encode()


def test_a_round_that_does_not_cross_holds_too() -> None:
    listed = view(6)
    row = AuditedRound(MARKET, 6, sealed_json(listed), certified(listed, NO_CROSS))
    raws = {orders()[name].hash: orders()[name].raw for name in LISTS[6][0]}
    checks = verify_round(RoundFile(1, "", {MARKET: market_json()}, (row,), None, raws))
    assert {c.outcome for c in checks} == {Outcome.HOLDS}


def _list(**changes: Any) -> Callable[[], RoundFile]:  # noqa: ANN401 - fields of a list
    def changed() -> RoundFile:
        row = replace(honest().subject, sealed=sealed_json(replace(view(5), **changes)))
        return replace(honest(), rounds=(row,))

    return changed


def _result(**changes: Any) -> Callable[[], RoundFile]:  # noqa: ANN401 - fields of a result
    """A result that the members signed, and that is none."""

    def changed() -> RoundFile:
        listed, result = view(5), replace(crossing(), **changes)
        row = replace(honest().subject, result=certified(listed, result))
        return replace(honest(), rounds=(row,), settlement=settled(settlement_of(listed, result)))

    return changed


def _without(name: str) -> RoundFile:
    kept = {digest: raw for digest, raw in honest().orders.items() if digest != orders()[name].hash}
    return replace(honest(), orders=kept)


def _other_settlement() -> RoundFile:
    other = replace(settlement_of(view(5), crossing()), root=bytes(32))
    return replace(honest(), settlement=settled(other))


CHANGES: dict[str, tuple[Callable[[], RoundFile], str, str]] = {
    "a leaf less": (_list(leaves=view(5).leaves[:-1], sequences=(0, 1)), "list", "root"),
    "leaves in another order": (_list(leaves=view(5).leaves[::-1]), "list", "root"),
    "another reference": (_list(reference=1), "list", "not signed by member"),
    "another sealing time": (_list(sealed_at=view(5).sealed_at + 1), "list", "not signed by member"),
    "other terms": (_list(terms_hash=bytes(32)), "list", "not signed by member"),
    "two signatures": (
        _list(signatures={i: s for i, s in view(5).signatures.items() if i < 3}),
        "list",
        "2/3",
    ),
    "an order withheld": (lambda: _without("ben"), "orders", "not handed out"),
    "another audit root": (_list(audit_root=b"\x01" * 32), "result", "members signed"),
    "the result of another list": (
        lambda: replace(honest(), rounds=(replace(honest().subject, result=certified(view(6), crossing())),)),
        "result",
        "members signed",
    ),
    "no result": (
        lambda: replace(honest(), rounds=(replace(honest().subject, result=b""),)),
        "result",
        "handed out",
    ),
    "more bought than traded": (_result(volume=1), "conservation", "add up"),
    "another settlement": (_other_settlement, "settlement", "sum of its rounds"),
    "another settlement on chain": (
        lambda: replace(
            honest(),
            settlement=settled(
                settlement_of(view(5), crossing()),
                replace(settlement_of(view(5), crossing()), transcript=bytes(32)),
            ),
        ),
        "chain",
        "something else",
    ),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_round_with_one_item_changed_is_refused_by_name(how: str) -> None:
    changed, name, problem = CHANGES[how]
    checks = {c.name: c for c in verify_round(changed())}
    assert checks[name].outcome is Outcome.FAILS
    assert problem in checks[name].problem
    assert checks[name].by in {"venue", "committee", "operator"}
    assert exit_code(tuple(checks.values())) == 3
    after = [c.outcome for c in list(checks.values())[list(checks).index(name) + 1 :]]
    assert set(after) <= {Outcome.NOT_DONE}


def test_a_proof_that_does_not_hold_is_found_though_members_signed_the_list() -> None:
    """Members that took an unproven order in: its bytes are as listed, its claim is not true."""

    def refuse_second(key: object, raws: Any) -> dict[int, Any]:  # noqa: ANN401
        from darkpool.admission import unproven

        broken = bytearray(raws[1])
        broken[-300] ^= 1
        return unproven(key, [raws[0], bytes(broken), *raws[2:]])  # type: ignore[arg-type]

    checks = {c.name: c for c in verify_round(honest(), refuse_second)}
    assert checks["proofs"].outcome is Outcome.FAILS
    assert checks["result"].outcome is Outcome.NOT_DONE


@pytest.mark.parametrize("place", range(8))
def test_a_flipped_byte_anywhere_never_passes(place: int) -> None:
    data = bytearray(honest().encode())
    for at in range(len(data) * place // 8 + 3, len(data) * (place + 1) // 8, len(data) // 40):
        changed = bytearray(data)
        changed[at] ^= 1
        try:
            file = RoundFile.decode(bytes(changed))
        except CommitmentsError:
            continue
        checks = verify_round(file)
        assert exit_code(checks) != 0 or _only_words(file)


def _only_words(file: RoundFile) -> bool:
    """Whether all that differs is nobody's claim: when it was made, what units are called, where it is."""
    true = honest()
    same = (file.rounds, file.orders) == (true.rounds, true.orders)
    settlement, meant = file.settlement, true.settlement
    assert settlement is not None
    assert meant is not None
    return same and (settlement.payload, settlement.chain) == (meant.payload, meant.chain)


def test_what_waits_is_said_to_wait() -> None:
    listed = replace(view(5), signatures={})
    open_ = replace(honest(), rounds=(AuditedRound(MARKET, 5, sealed_json(listed)),), settlement=None)
    checks = by_name(open_)
    assert checks["list"].outcome is checks["result"].outcome is Outcome.INCOMPLETE
    assert exit_code(tuple(checks.values())) == 1
    unsettled = by_name(replace(honest(), settlement=None))
    assert unsettled["settlement"].outcome is Outcome.INCOMPLETE
    unasked = by_name(replace(honest(), chain=""))
    assert "--rpc-url" in unasked["chain"].problem


def test_a_round_of_a_real_venue_is_fetched_verified_and_verified_again_from_its_file(
    tmp_path: Path,
) -> None:
    async def scenario() -> RoundFile:
        import httpx

        async with pair(tmp_path) as p:
            await p.cross()
            await p.v.settle()
            transport = httpx.ASGITransport(create_app(p.v.venue))
            async with Concurrent("http://venue", transport) as shell:
                return await shell.run(
                    RoundClient(lambda _done, _of: None).gather(p.v.view.terms.market.name, 1)
                )

    file = asyncio.run(scenario())
    checks = {c.name: c for c in verify_round(file)}
    assert {c.outcome for c in checks.values()} == {Outcome.HOLDS, Outcome.INCOMPLETE}
    assert [name for name, c in checks.items() if c.outcome is Outcome.INCOMPLETE] == ["chain"]
    assert read_result(Message.decode(file.subject.result)).crossed
    kept = tmp_path / "round.file"
    kept.write_bytes(file.encode())
    done = CliRunner().invoke(app, ["verify", "--file", str(kept), "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["checks"][0]["count"] == 2
    shown = CliRunner().invoke(app, ["verify", "--file", str(kept)])
    assert "on trust" in shown.stdout


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 40, Message("audit").encode(), Message("round", {"version": 2}).encode()]
)
def test_what_is_no_file_of_a_round_is_refused(data: bytes) -> None:
    with pytest.raises(CommitmentsError):
        RoundFile.decode(data)
