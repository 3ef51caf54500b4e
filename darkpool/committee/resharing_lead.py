"""The operator's part in a change of shares: it asks all members to make the next seats. It sees no share."""

from __future__ import annotations

import secrets
from typing import Final

from commitments.errors import DecodeError
from darkpool.committee.changing import STEP_SECONDS, read_sharing, sharing_fields
from darkpool.committee.member_links import MemberLinks
from darkpool.errors import PeerFault, Unavailable
from darkpool.message import Message
from darkpool.tenure import Tenure

SECONDS: Final = 4 * STEP_SECONDS


async def stage(links: MemberLinks, replaced: tuple[int, ...]) -> None:
    """All members have their next seats staged, of one sharing; those at `replaced` are successors.

    Raises PeerFault or Unavailable, and then nobody keeps one: all must be here for it.
    """
    links.check_all_here()
    threshold, indices = links.signers.threshold, sorted(links.signers.addresses)
    staying = [i for i in indices if i not in replaced]
    said = {i: await links.ask(i, Message("sharing"), SECONDS) for i in staying}
    try:
        sharings = {i: read_sharing(reply) for i, reply in said.items()}
    except DecodeError as error:
        raise PeerFault(f"sharing: {error}", peer="a member") from None
    present = sharings[staying[0]]
    if others := [i for i, sharing in sharings.items() if sharing != present]:
        raise PeerFault(
            f"they hold shares of another sharing than member {staying[0]}",
            "replace them",
            peer=f"members {others}",
        )
    dealers = staying[: threshold + 1] if replaced else indices
    fields = {"session": secrets.token_bytes(32).hex(), "replaced": list(replaced), "dealers": dealers}
    request = Message("reshare", {**sharing_fields(present), **fields})
    replies, missing = await links.some(request, SECONDS)
    digests = {reply.fields.get("sharing") for reply in replies.values()}
    if missing or len(digests) != 1:
        await withdraw(links)
        raise next(iter(missing.values()), Unavailable("the members staged different sharings", "committee"))


async def withdraw(links: MemberLinks) -> None:
    """Whoever has a next seat staged erases it; who is away does so when another one is staged."""
    await links.some(Message("withdraw"), SECONDS)


async def check_dealt(links: MemberLinks, following: Tenure) -> None:
    """Whoever stays in office under another key has staged the seat of it that was dealt to it.

    Raises PeerFault or Unavailable: all must be here for it.
    """
    links.check_all_here()
    members = following.signers.addresses.values()
    staying = [i for i, address in links.signers.addresses.items() if address in members]
    replies, missing = await links.some(Message("staged"), SECONDS, staying)
    if missing:
        raise next(iter(missing.values()))
    due = {"epoch": following.key_epoch, "key_id": following.key.key_id.hex()}
    for index, reply in replies.items():
        if not due.items() <= reply.fields.items():
            raise PeerFault(
                "its next seat is of another epoch or key than is to take office",
                "deal for the key epoch that is next, and have it join that",
                f"member {index}",
            )
    if len({reply.fields.get("sharing") for reply in replies.values()}) > 1:
        raise PeerFault("they have seats of different deals", "compare the codes", "members")
