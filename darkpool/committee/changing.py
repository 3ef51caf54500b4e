"""A member's end of a change of shares, between rounds of a running venue.

    reshare    with all others it makes the next seats (keylife.py) and stages its own (staging.py)
    withdraw   the others could not: what is staged is erased, unless this member has signed it into office
    staged     which next seat it keeps, also one that was dealt to it under another key
    (the log)  a `committee` entry of the staged sharing: the staged seat takes the place of the present one

The log decides, and every member follows it, so after any crash all come to the same epoch. A member whose
entry comes before its seat was staged has no part any more until it is replaced.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from commitments.errors import CommitmentsError, DecodeError
from commitments.resharing import Change
from darkpool.committee import staging
from darkpool.committee.home import SEAT
from darkpool.committee.keylife import NAME_BYTES, KeyChange, Parameters
from darkpool.committee.mesh import Mesh
from darkpool.committee.seat import Seat
from darkpool.committee.sharing import read_sharing
from darkpool.errors import DarkpoolError, OrderRefused
from darkpool.message import Message
from darkpool.tenure import Tenure
from darkpool.tenure_file import Planned

STEP_SECONDS: Final = 60.0

log = logging.getLogger("darkpool.member")


async def reshare(
    request: Message, seat: Seat, home: Path, mesh: Mesh, tenure: Tenure, planned: Planned | None, now: int
) -> Message:
    """Take part in a change and stage the next seat, for the committee of the plan.

    A refresh is agreed to whenever it is asked; successors must be those of the owner's plan for the epoch
    that is next. `now`: of the log, unix seconds. Raises DecodeError, OrderRefused, ConfigError,
    ChangeAborted, RoundAborted.
    """
    staging.check_free(home / SEAT, now)
    parameters = read_change(request)
    if parameters.change.committee != seat.committee:
        raise OrderRefused(
            f"sharing: of epoch {parameters.change.committee.epoch}, or another one than this member's",
            "ask all members for theirs",
        )
    if seat.committee.epoch != tenure.key_epoch:
        raise OrderRefused(
            f"seat: of key epoch {seat.committee.epoch}, the log's is {tenure.key_epoch}",
            "let this member take the seat in office first",
        )
    replaced, wanted = parameters.change.replaced, refreshed(tenure)
    if replaced:
        if planned is None or replaced != successors(tenure, planned.tenure):
            raise OrderRefused(
                f"replaced: {list(replaced)} are not whom this member's folder wants replaced",
                "its owner has to agree: by next-committee.json in the member's folder",
            )
        wanted = planned.tenure.plan
    if wanted.key_epoch != tenure.key_epoch + 1:
        raise OrderRefused(
            f"key_epoch: {wanted.key_epoch} in this member's folder where {tenure.key_epoch + 1} is next",
            "have next-committee.json planned anew",
        )
    following = await changed(KeyChange.begin(parameters, seat), mesh)
    return stage(following, home, wanted.hash, now)


def stage(following: Seat, home: Path, plan: bytes = bytes(32), now: int = 0) -> Message:
    """Keep the next seat for that committee (`Tenure.plan`, its hash); the answer that says so."""
    staging.stage(following, home / SEAT, plan, now)
    log.info("the seat of epoch %d is staged", following.committee.epoch)
    return _staged(following)


def staged(home: Path) -> Message:
    """Which next seat is kept. Raises OrderRefused if there is none, ConfigError."""
    path = home / SEAT
    if not staging.staged(path):
        raise OrderRefused("seat: this member has no seat in the next committee", "run darkpool member join")
    return _staged(Seat.load(path.with_suffix(staging.NEXT)))


def _staged(following: Seat) -> Message:
    committee = following.committee
    fields = {"sharing": committee.digest.hex(), "key_id": committee.key.key_id.hex()}
    return Message("staged", {"epoch": committee.epoch, **fields})


async def changed(change: KeyChange, mesh: Mesh) -> Seat:
    """The three steps of keylife.py over the mesh. Raises ChangeAborted, RoundAborted."""
    name, peers = change.parameters.name, change.peers
    try:
        dealt = await mesh.exchange(name, "deal", change.deal(), STEP_SECONDS)
        verdict = dict.fromkeys(peers, change.receive(dealt))
        verdicts = await mesh.exchange(name, "verdict", verdict, STEP_SECONDS)
        confirmation = dict.fromkeys(peers, change.judge(verdicts))
        return change.finish(await mesh.exchange(name, "confirm", confirmation, STEP_SECONDS))
    except DarkpoolError as error:
        mesh.abort(name, str(error))
        raise
    finally:
        mesh.forget(name)


def settled(home: Path, seat: Seat, tenure: Tenure) -> Seat:
    """The seat for those now in office: the staged one if it is theirs, which then replaces the present one.

    Raises ConfigError.
    """
    path, held = home / SEAT, seat.committee.digest == tenure.sharing
    if held and not staging.unfinished(path):
        return seat
    if not held:
        if not staging.staged(path):
            return seat
        if Seat.load(path.with_suffix(staging.NEXT)).committee.digest != tenure.sharing:
            return seat
        log.info("the seat of epoch %d takes the place of that of %d", tenure.key_epoch, seat.committee.epoch)
    return staging.commit(path, tenure.sharing)


def refreshed(tenure: Tenure) -> Tenure:
    """The plan for the same members with other shares."""
    return replace(tenure.plan, key_epoch=tenure.key_epoch + 1)


def successors(before: Tenure, following: Tenure) -> tuple[int, ...]:
    """The indices at which another signs than before."""
    after = following.signers.addresses
    return tuple(i for i, address in sorted(before.signers.addresses.items()) if after.get(i) != address)


# --- messages ---------------------------------------------------------------------------------------


def read_change(request: Message) -> Parameters:
    """What all members are asked to take part in. Raises DecodeError."""
    committee = read_sharing(request)
    lists = [request.fields.get(name) for name in ("replaced", "dealers")]
    if not all(isinstance(x, list) and all(type(i) is int for i in x) for x in lists):
        raise DecodeError("replaced, dealers", "not lists of members")
    replaced, dealers = (tuple(x or ()) for x in lists)
    try:
        change = Change(committee, replaced, dealers)
        return Parameters(change, request.octets("session", NAME_BYTES))
    except CommitmentsError as error:
        raise DecodeError("change", str(error)) from None
