"""The operator's part in a change of shares: it asks all members to make the next seats. It sees no share."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from commitments.errors import DecodeError
from darkpool.committee.changing import STEP_SECONDS
from darkpool.committee.member_links import MemberLinks
from darkpool.committee.sharing import read_sharing, sharing_fields
from darkpool.errors import PeerFault, Unavailable
from darkpool.message import Message
from darkpool.tenure import Tenure

SECONDS: Final = 4 * STEP_SECONDS


async def stage(links: MemberLinks, replaced: tuple[int, ...]) -> bytes:
    """All members have their next seats staged; the digest of their sharing, 32 bytes.

    Those at `replaced` are successors. Raises PeerFault or Unavailable, and then nobody keeps one: all must
    be here for it.
    """
    try:
        return await _stage(links, replaced)
    except BaseException:
        await withdraw(links)
        raise


async def _stage(links: MemberLinks, replaced: tuple[int, ...]) -> bytes:
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
    if missing:
        raise next(iter(missing.values()))
    return _one_sharing(replies)


async def withdraw(links: MemberLinks) -> None:
    """Whoever has a next seat staged erases it, but for who has signed it into office.

    Who is away does so when another one is staged, or given up.
    """
    await links.some(Message("withdraw"), SECONDS)


async def check_dealt(links: MemberLinks, following: Tenure) -> bytes:
    """The digest of the sharing that whoever stays in office has staged of another key, 32 bytes.

    Those seats are kept whatever happens: they were dealt once.

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
    return _one_sharing(replies)


def _one_sharing(replies: Mapping[int, Message]) -> bytes:
    """The digest that all of them name. Raises PeerFault, Unavailable."""
    found: dict[bytes, int] = {}
    for index, reply in replies.items():
        try:
            found[reply.octets("sharing", 32)] = index
        except DecodeError as error:
            raise PeerFault(f"{error}, in its reply", peer=f"member {index}") from None
    if len(found) != 1:
        raise Unavailable(
            f"the members staged {len(found)} different sharings",
            "committee",
            "compare the codes of the deal",
        )
    return next(iter(found))
