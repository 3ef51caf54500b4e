"""A member's word for those who come after its committee: to the log, and to the vault.

    succeed   its signature that another committee or key takes office in the log (darkpool/tenure.py)
    propose   its signature of the vault's next committee (settlement.committee_digest)

It says only what its own folder says: whoever runs the member puts `next-committee.json` there, having
compared it with the others', once the next shares are with their members. So no operator can talk a committee
out of office. Signing twice does no harm: of two changes for one place the log takes the first.

Who has a place in the next committee signs only for the sharing whose seat it has staged, made for that very
committee, and keeps that seat from then on while the signature can be used. Who leaves has none, and signs on
its owner's word alone: as 2t+1 of the next sign too, at least t+1 honest ones have shares that fit together.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from darkpool.chain import Chain
from darkpool.committee import staging
from darkpool.committee.seat import Seat
from darkpool.committee.staging import Staged
from darkpool.eip712 import sign_digest
from darkpool.errors import OrderRefused, Unavailable
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.settlement import committee_digest
from darkpool.state import VenueState
from darkpool.tenure import MAX_WAIT, Tenure, check_follows, read_tenure
from darkpool.tenure_file import FIRST, NEXT, Planned
from darkpool.timing import CLOCK_SLACK_SECONDS
from darkpool.types import Address

MAX_EPOCH: Final = (1 << 64) - 1


def plan_of(home: Path) -> Planned | None:
    """Whom the member's folder wants to come next, if anybody. Raises ConfigError."""
    return Planned.load(home / NEXT)


def first_committee(home: Path, seat: Seat, signers: Signers) -> Tenure:
    """Whom the venue began with: as the folder keeps it, or the seat's own. Raises ConfigError."""
    kept = Planned.load(home / FIRST)
    return Tenure(signers, seat.committee.key) if kept is None else kept.tenure


def succeed(
    seat: Seat, state: VenueState, planned: Planned | None, chain: Chain | None, path: Path, request: Message
) -> Message:
    """The signature that puts the next committee into office at the request's `at`.

    Asked of members of either; the member's seat is in `path`. Raises OrderRefused, ConfigError, DecodeError;
    ChainError, Unavailable for what passes.
    """
    following, present = read_tenure(request), state.tenures.current
    _check_planned(planned, following)
    check_follows(present, following)
    late = int(time.time()) - following.since
    if not -CLOCK_SLACK_SECONDS <= late <= MAX_WAIT:
        raise OrderRefused(
            f"at: {late} s ago by this member's clock, not within {MAX_WAIT} s", "ask for the present time"
        )
    state.check_may_change(following.signers)
    if following.signers != present.signers:
        _check_in_office(chain, following)
    if seat.signer not in {*present.signers.addresses.values(), *following.signers.addresses.values()}:
        raise OrderRefused("committee: this member is in neither", "ask the others")
    book = next(iter(state.books.values()), None)
    if book is None:
        raise OrderRefused("committee: the log has no market yet", "send it the log")
    if seat.signer in following.signers.addresses.values():
        _check_staged(seat, staging.kept(path), present, following)
        staging.promise(path, following.since + MAX_WAIT)
    digest = present.succession(following, state.domain, book.terms.venue)
    return Message("signed", {"key_epoch": following.key_epoch}, [sign_digest(digest, seat.signing_key)])


def propose(
    seat: Seat, state: VenueState, planned: Planned | None, chain: Chain | None, request: Message
) -> Message:
    """The signature of the vault's next committee and guardian, as the proposal of number `epoch`.

    Raises OrderRefused, DecodeError, ChainError.
    """
    following, epoch = read_tenure(request), request.integer("epoch", 1, MAX_EPOCH)
    guardian = Address(request.octets("guardian", 20))
    wanted = _check_planned(planned, following)
    check_follows(state.tenures.current, following)
    if chain is None and wanted.guardian is None:
        raise OrderRefused(
            "guardian: this member has no node to see the present one by",
            f"name it in the members' {NEXT}",
        )
    due = chain.guardian() if wanted.guardian is None and chain is not None else wanted.guardian
    if guardian != due:
        raise OrderRefused("guardian: another one than this member's folder wants", f"compare {NEXT}")
    if chain is not None and epoch != chain.last_epoch() + 1:
        raise OrderRefused(
            f"epoch: {epoch} where {chain.last_epoch() + 1} is the vault's next", "ask for that one"
        )
    members = sorted(following.signers.addresses.values())
    digest = committee_digest(epoch, members, following.signers.threshold, guardian, state.domain)
    return Message("signed", {"epoch": epoch}, [sign_digest(digest, seat.signing_key)])


def _check_planned(planned: Planned | None, following: Tenure) -> Planned:
    if planned is None:
        raise OrderRefused(
            "committee: this member's folder has no plan for another one",
            f"its owner has to agree: by {NEXT} in the member's folder",
        )
    if not planned.same(following):
        raise OrderRefused(
            "committee: another one than this member's folder wants", f"compare {NEXT} of all members"
        )
    return planned


def _check_staged(seat: Seat, found: Staged | None, present: Tenure, following: Tenure) -> None:
    """Raises OrderRefused unless what is staged is this member's seat in the next committee."""
    if found is None:
        raise OrderRefused("sharing: this member has no next seat staged", "make or deal the shares first")
    committee = found.seat.committee
    if committee.digest != following.sharing:
        raise OrderRefused("sharing: another one than this member has staged", "have all stage theirs anew")
    place = following.signers.addresses.get(found.seat.index), committee.epoch, committee.key
    if found.plan != following.plan.hash or place != (seat.signer, following.key_epoch, following.key):
        raise OrderRefused(
            "sharing: the staged seat was made for another committee than this", "have all stage theirs anew"
        )
    grown = committee.scale - seat.committee.scale  # by one where somebody is replaced
    if following.key == present.key and grown != (following.signers != present.signers):
        raise OrderRefused(
            "sharing: a refresh where members change, or the reverse", "have all stage theirs anew"
        )


def _check_in_office(chain: Chain | None, following: Tenure) -> None:
    """First the vault, then the log: else nobody could settle what is sealed next."""
    if chain is None:
        return
    members = set(following.signers.addresses.values())
    if set(chain.members()) != members or chain.quorum() != following.quorum:
        raise Unavailable(
            "committee: the vault has another one in office", "chain", "activate the proposal first"
        )
