"""The operator's part in a change of committee: it asks the members, and carries what they sign.

    propose -> (the vault's delay) -> activate -> change: make shares anew -> succeed

Where the signers stay the same, as when shares are refreshed, only the last step is needed, `change`. The
members sign what their own folders say (committee/succession.py); the operator could not make them sign
anything else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, replace

from commitments.errors import VerificationError
from darkpool.chain import Chain
from darkpool.committee import resharing_lead
from darkpool.committee.changing import successors
from darkpool.committee.member_links import SHORT_SECONDS
from darkpool.eip712 import recover_digest
from darkpool.engine import Committed, Draft, Engine
from darkpool.errors import DarkpoolError, OrderRefused, Unavailable
from darkpool.message import Message
from darkpool.settlement import committee_digest
from darkpool.tenure import OP, Tenure, check_follows
from darkpool.tenure_file import Planned
from darkpool.threads import Threads
from darkpool.types import Address, Signature


@dataclass(frozen=True, slots=True)
class VaultProposal:
    """The vault's next committee as `propose_committee` takes it: members and signatures by address."""

    epoch: int
    members: tuple[Address, ...]
    threshold: int
    guardian: Address
    signatures: tuple[Signature, ...]


async def proposal(engine: Engine, threads: Threads, planned: Planned) -> VaultProposal:
    """The next committee, signed for the vault by 2t+1 members in office.

    Raises OrderRefused for one that may not follow, Unavailable if too few sign, ChainError.
    """
    present, following = engine.state.tenures.current, planned.tenure
    check_follows(present, replace(following, since=present.since + 1))
    epoch, guardian = await threads.chain(_proposed, engine.chain)
    guardian = planned.guardian or guardian
    members = tuple(sorted(following.signers.addresses.values()))
    threshold = following.signers.threshold
    digest = committee_digest(epoch, members, threshold, guardian, engine.state.domain)
    fields = {**following.fields(), "at": present.since + 1, "epoch": epoch, "guardian": guardian.hex()}
    request = Message("propose", fields)
    found, reason = await _signatures(engine, request, digest, set(present.signers.addresses.values()))
    if len(found) < present.quorum:
        raise Unavailable(f"committee: {len(found)}/{present.quorum} members signed: {reason}", "committee")
    return VaultProposal(epoch, members, threshold, guardian, tuple(found[a] for a in sorted(found)))


def _proposed(chain: Chain) -> tuple[int, Address]:
    """Number of the vault's next proposal, and the present guardian."""
    return chain.last_epoch() + 1, chain.guardian()


async def change(engine: Engine, planned: Planned) -> Committed:
    """The next committee into office, between rounds. Under the same key its shares are made anew first.

    A member keeps its seat, or is replaced where another signs; a successor takes its seat soon after. Under
    another key all have the seats that were dealt to them. Raises as `succeed`, and PeerFault: nothing has
    changed then.
    """
    state, committee = engine.state, engine.committee
    async with engine.clearing:
        following = planned.tenure
        check_follows(state.tenures.current, replace(following, since=state.tenures.current.since + 1))
        state.check_may_change(following.signers)
        same = following.key == state.key
        await committee.caught_up(engine.log.size)
        if same:
            sharing = await resharing_lead.stage(committee, successors(state.tenures.current, following))
        else:
            sharing = await resharing_lead.check_dealt(committee, following)
        try:
            return await succeed(engine, replace(following, sharing=sharing))
        except DarkpoolError:
            if same and not engine.in_doubt:  # else the log may have it, and members will need those seats
                await resharing_lead.withdraw(committee)
            raise


async def succeed(engine: Engine, wanted: Tenure) -> Committed:
    """The entry with which the next committee takes office in the log, with its sharing, signed by both.

    Raises OrderRefused, Unavailable, StoreError; nothing has changed then.
    """
    state = engine.state
    present = state.tenures.current
    following = replace(wanted, since=max(int(time.time()), state.time, state.last_seal + 1))
    await asyncio.sleep(min(1.0, max(0.0, following.since - time.time())))  # a list was sealed in this second
    if not state.books:
        raise OrderRefused("committee: the log has no market yet", "open one first", "market-unknown")
    check_follows(present, following)
    state.check_may_change(following.signers)
    venue = next(iter(state.books.values())).terms.venue
    digest = present.succession(following, state.domain, venue)
    sides = [set(tenure.signers.addresses.values()) for tenure in (present, following)]
    request = Message("succeed", following.fields())
    found, reason = await _signatures(engine, request, digest, sides[0] | sides[1])
    for tenure, members in zip((present, following), sides, strict=True):
        count = len(members & set(found))
        if count < tenure.quorum:
            raise Unavailable(
                f"committee: {count}/{tenure.quorum} members of epoch {tenure.key_epoch} signed: {reason}",
                "committee",
            )
    signatures = [found[address] for address in sorted(found)]
    return await engine.commit_one(Draft(OP, following.fields(), signatures))


async def _signatures(
    engine: Engine, request: Message, digest: bytes, members: Collection[Address]
) -> tuple[dict[Address, Signature], str]:
    """By address, those of members over the digest; and why one gave none."""
    await engine.committee.caught_up(engine.log.size)
    replies, missing = await engine.committee.some(request, SHORT_SECONDS)
    reason = next(map(str, missing.values()), "")
    found: dict[Address, Signature] = {}
    for index, reply in replies.items():
        try:
            signer = recover_digest(digest, reply.blobs[0] if len(reply.blobs) == 1 else b"")
        except VerificationError as error:
            reason = reason or f"member {index}: {error}"
            continue
        if signer in members:
            found[signer] = Signature(reply.blobs[0])
        else:
            reason = reason or f"member {index} signed something else"
    return found, reason
