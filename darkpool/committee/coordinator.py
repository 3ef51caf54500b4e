"""The operator's side of a committee: members get the log, sign and clear rounds, vouch for their end.

It holds no key, sees no share and no partial decryption: members take those steps among themselves. Every
request may be repeated, so whatever dies in the middle of one is asked again. 2t+1 members are enough for
every step; who is away, lies or is slow is left out (attempts.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Final

from commitments.errors import DecodeError, VerificationError
from darkpool import certificates, eip712
from darkpool.committee.attempts import Attempts, Past
from darkpool.committee.blame import Blame, read_blame
from darkpool.committee.meeting import Meeting
from darkpool.committee.member_links import SHORT_SECONDS, MemberLinks, ReadLog
from darkpool.committee.outcome import Certificate, DigestOf, Signed, groups, signed_by
from darkpool.committee.replies import Replies
from darkpool.committee.rounds import MAX_ATTEMPTS
from darkpool.committee.standing import apart, next_generation, standings_of
from darkpool.errors import PeerFault, Unavailable
from darkpool.listing import SealedList
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.order import Terms
from darkpool.results import result_fields
from darkpool.settlement import Settlement, ordered_signatures
from darkpool.settlement import digest as settlement_digest
from darkpool.types import Signature

START_SECONDS: Final = 45.0
MEET_SECONDS: Final = 10.0
CLEAR_SECONDS: Final = 120  # for one step of a clearing
CLEAR_REPLY_SECONDS: Final = 1_800.0
LATE_SECONDS: Final = 10.0  # for replies after the first refusal, besides the time of one step
RETURN_SECONDS: Final = 20.0  # for members that were lost in an attempt to come back

log = logging.getLogger("darkpool.coordinator")


class Coordinator(MemberLinks):
    """Leads the members of `MemberLinks` through rounds.

    `clear_timeout` is how many seconds members wait for each other in a step of a clearing.
    """

    def __init__(
        self,
        signers: Signers,
        meeting: Meeting,
        read_log: ReadLog,
        size: int,
        clear_timeout: int = CLEAR_SECONDS,
    ) -> None:
        super().__init__(signers, meeting, read_log, size)
        self._timeout = clear_timeout
        self.attempts = Attempts(self.quorum)  # at the list that was cleared last
        self.past = Past()
        self._parted: set[tuple[int, int]] = set()  # who did not see each other when it was last asked
        self._evaluating: tuple[int, ...] = ()  # who have evaluators among themselves, as far as we know

    # --- before a round is sealed -------------------------------------------------------------------

    async def ready(self, size: int, epoch: int) -> tuple[int, ...]:
        """The members that would play now, 2t+1 at least.

        They have the log, see each other, would sign a list sealed now, for that epoch of the vault, and
        have evaluators among themselves, or get them. Raises PeerFault or Unavailable.
        """
        met = await self._met(await self.caught_up(size))
        willing = await self._enough(Message("ready", {"epoch": epoch}), SHORT_SECONDS, met)
        attempts, reason = Attempts(self.quorum, past=self.past), ""
        attempts.part(self._parted)
        try:
            for _ in range(MAX_ATTEMPTS):
                players = attempts.players(sorted(willing))
                if players is None:
                    break
                trouble = await self._evaluators(players, attempts)
                if not trouble:
                    return players
                reason = reason or trouble
        finally:
            if attempts.failures:
                self.past.learn(attempts)
        raise Unavailable(reason, "committee")

    async def _met(self, among: Iterable[int]) -> list[int]:
        """Those that are here, 2t+1 of whom see each other; members that have just started get some time.

        Nobody is left out because of what another says: `_parted` are then the pairs that should not play
        together.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + MEET_SECONDS
        while True:
            statuses = await self._enough(Message("status"), SHORT_SECONDS, among)
            standings = standings_of(statuses)
            seen = {i: {i, *standing.peers} for i, standing in standings.items()}
            pairs, late = apart(seen), loop.time() >= ends
            sets = combinations(sorted(seen), self.quorum)
            together = any(not apart({i: seen[i] for i in players}) for players in sets)
            if together and (late or pairs <= self._parted):
                self._parted = pairs
                return sorted(seen)
            if late:
                unseen = {i: sorted(set(seen) - peers) for i, peers in seen.items() if set(seen) - peers}
                index, missing = next(iter(unseen.items()), (0, sorted(set(statuses) - set(seen))))
                who = f"member {index} is not connected to" if index else "nonsense is the status of"
                raise Unavailable(f"{who} members {missing}", "committee")
            await asyncio.sleep(MEET_SECONDS / 100)

    async def _evaluators(self, players: tuple[int, ...], attempts: Attempts) -> str:
        """Evaluators of one generation among the players, unless they have them.

        Why not, if it comes to that; whom they charge with it, the attempts know then.
        """
        statuses, missing = await self.some(Message("status"), SHORT_SECONDS, players)
        standings = standings_of(statuses)
        if len(standings) < len(players):
            attempts.failed(players, {})
            attempts.suspect(set(players) - set(standings))
            return next(map(str, missing.values()), f"nonsense is the status of one of {list(players)}")
        generations = [standing.generation for standing in standings.values()]
        alike = all(standing.evaluating == players for standing in standings.values())
        self._evaluating = players
        if alike and len(set(generations)) == 1:
            return ""
        generation = next_generation(generations, self.signers.threshold)
        request = Message("start", {"generation": generation, "members": list(players)})
        said = await self._replies(request, players, lambda _: False, START_SECONDS)
        if len(said.replies) == len(players):
            return ""
        self._evaluating = ()
        attempts.failed(players, {i: self._charges(refused) for i, refused in said.refused.items()})
        return said.reason

    # --- orders by hand -----------------------------------------------------------------------------

    async def handed(self) -> dict[int, list[bytes]]:
        """Orders that traders handed to members and the log lacks, by member."""
        replies, _ = await self.some(Message("handed"), SHORT_SECONDS)
        return {index: list(reply.blobs) for index, reply in replies.items() if reply.blobs}

    async def refuse_handed(self, index: int, order: bytes, reason: str) -> None:
        """Name the reason for which a handed order is not logged. Raises PeerFault, Unavailable."""
        await self.ask(
            index, Message("handed_refused", {"order": order.hex(), "reason": reason}), SHORT_SECONDS
        )

    # --- the round ----------------------------------------------------------------------------------

    async def sign(self, terms: Terms, sealed: SealedList) -> dict[int, Signature]:
        """The signatures of 2t+1 members or more over the sealed list. Raises PeerFault or Unavailable."""
        signatures, problems = await self._signatures(terms, sealed, self._links)
        if len(signatures) < self.quorum:
            raise problems[0]
        return signatures

    async def _signatures(
        self, terms: Terms, sealed: SealedList, among: Iterable[int]
    ) -> tuple[dict[int, Signature], list[PeerFault | Unavailable]]:
        """Those that are there, and why the others are not."""
        replies, missing = await self.some(_about("sign", sealed), SHORT_SECONDS, among, self.quorum)
        digest, signatures = sealed.digest(terms.domain), {}
        problems: list[PeerFault | Unavailable] = list(missing.values())
        for index, reply in replies.items():
            signature = reply.blobs[0] if len(reply.blobs) == 1 else b""
            try:
                eip712.check_signer(digest, signature, self.signers.addresses[index])
            except VerificationError as error:
                problems.append(PeerFault(f"over the root, {error}", peer=f"member {index}"))
            else:
                signatures[index] = Signature(signature)
        return signatures, problems

    async def clear(
        self, terms: Terms, sealed: SealedList, digest_of: DigestOf, signed: Iterable[int] | None = None
    ) -> Certificate:
        """Have members that signed the list clear it, and see how it ended. Raises as `conclude`.

        Who of the players does not sign the result that more than t others signed is left out the next time:
        whoever has signed it gives the same again.
        """
        self.attempts = attempts = Attempts(self.quorum, past=self.past)
        reason, known = "", dict[int, Message]()
        among = sorted(self._links if signed is None else signed)
        for number in range(1, MAX_ATTEMPTS + 1):
            players = attempts.players(await self._here(among), self._evaluating)
            if players is None and (late := set(self._links) - set(among)):
                among = sorted({*among, *(await self._signatures(terms, sealed, late))[0]})
                players = attempts.players(await self._here(among))
            if players is None:
                break
            if trouble := await self._evaluators(players, attempts):
                reason = reason or trouble
                continue
            request = _about("clear", sealed, timeout=self._timeout, attempt=number, members=list(players))
            said = await self._replies(request, players, lambda s: bool(s.faults), CLEAR_REPLY_SECONDS)
            known |= said.replies
            best = next(iter(groups(self.signers, known, digest_of)), None)
            reason = reason or said.reason
            reports = {i: self._charges(m) for i, m in said.refused.items()}
            if best is not None and len(best.replies) >= self.quorum:
                attempts.charge(players, reports)
                break
            attempts.failed(players, reports)
            if best is not None and len(best.replies) > self.signers.threshold:
                await self._adopted(sealed, best, digest_of)
                known |= best.replies
                if len(best.replies) >= self.quorum:
                    break
                attempts.suspect(set(players) - set(best.replies))
            log.warning("attempt %d failed: %s; charged: %s", number, said.reason, attempts.summary or "none")
        self.past.learn(attempts)
        if attempts.charged:
            reason += f"; charged: {attempts.summary}"
        return await self.conclude(terms, sealed, digest_of, reason, known)

    async def _here(self, among: Sequence[int]) -> list[int]:
        """Those of them that are connected; if they are too few, some more once they are back."""
        ends = asyncio.get_running_loop().time() + RETURN_SECONDS
        while True:
            here = [i for i in among if self._links[i].connected]
            if len(here) >= self.quorum or asyncio.get_running_loop().time() >= ends:
                return here
            await asyncio.sleep(RETURN_SECONDS / 100)

    async def _replies(
        self, request: Message, among: Iterable[int], enough: Callable[[Replies], bool], seconds: float
    ) -> Replies:
        """What members reply in so many seconds. Once that is enough, the others have one step's time left.

        Nobody is waited for whom more than t of them charge: it may be silent for ever.
        """
        loop, said = asyncio.get_running_loop(), Replies()
        tasks = {asyncio.create_task(self._links[i].ask(request, seconds)): i for i in among}
        ends, pending = loop.time() + seconds, set(tasks)
        try:
            while pending and loop.time() < ends:
                left = ends - loop.time()
                done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    said.take(tasks[task], request.op, task)
                if {tasks[task] for task in pending} <= self._given_up(said):
                    break
                if enough(said):
                    ends = min(ends, loop.time() + self._timeout + LATE_SECONDS)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        for task in pending:
            fault = PeerFault(f"no reply to {request.op} in time", peer=f"member {tasks[task]}")
            said.faults[tasks[task]] = fault
        return said

    def _given_up(self, said: Replies) -> set[int]:
        charges = (self._charges(refused) for refused in said.refused.values())
        accusers = Counter(index for blame in charges for index in {b.member for b in blame})
        return {index for index, count in accusers.items() if count > self.signers.threshold}

    def _charges(self, reply: Message) -> list[Blame]:
        try:
            return read_blame(reply, self.signers.addresses)
        except DecodeError:
            return []

    async def conclude(
        self,
        terms: Terms,
        sealed: SealedList,
        digest_of: DigestOf,
        reason: str = "the venue was interrupted",
        known: Mapping[int, Message] | None = None,
    ) -> Certificate:
        """How a list ended, also if we did not see it: then it is not cleared again.

        `reason` is given for one that is abandoned; `known`: outcomes that members have told already, which
        count if they signed them. Raises Unavailable while too few members can say.
        """
        t, n = self.signers.threshold, len(self.signers.addresses)
        found, replies = groups(self.signers, known or {}, digest_of), dict[int, Message]()
        if not found or len(found[0].replies) < self.quorum:
            outcome = _about("outcome", sealed)
            said = await self._replies(
                outcome, self._links, lambda s: len(s.replies) + len(s.faults) >= n - t, CLEAR_REPLY_SECONDS
            )
            vouched = {i: reply for group in found for i, reply in group.replies.items()}
            replies, reason = said.replies | vouched, reason or said.reason
            found = groups(self.signers, replies, digest_of)
        best = found[0] if found else None
        trouble = reason
        if len(found) > 1:
            trouble = f"members {[sorted(g.replies) for g in found]} report different results"
        if best is not None and len(best.replies) > t:
            refused = await self._adopted(sealed, best, digest_of)
            if len(best.replies) >= self.quorum:
                return best.certificate(reason)
            trouble = refused or trouble
        # Members that are away may have signed too: giving up then could leave neither end possible.
        silent = n - len(replies)
        if (len(best.replies) if best else 0) + silent <= t:
            abandoned, refusals = await self.some(_about("abandon", sealed), SHORT_SECONDS, list(replies))
            digest = certificates.abandon_digest(terms.domain, sealed.digest(terms.domain))
            valid = [r for i, r in sorted(abandoned.items()) if signed_by(self.signers, i, r, digest)]
            if len(valid) >= n - t:
                return Certificate(None, tuple(Signature(r.blobs[0]) for r in valid), reason=trouble)
            trouble = next(map(str, refusals.values()), "") or trouble
        raise Unavailable(
            f"round {sealed.round}: no end yet: {trouble}",
            "committee",
            "it goes on when the members are back, and is released when its settle window has passed",
        )

    async def _adopted(self, sealed: SealedList, best: Signed, digest_of: DigestOf) -> str:
        """Have the others sign what t+1 members signed; why one would not."""
        others = [i for i in self._links if i not in best.replies]
        fields = {**_about("adopt", sealed).fields, **result_fields(best.result)}
        adopt = Message("adopt", fields, best.signatures)
        enough = self.quorum - len(best.replies)
        adopted, refusals = await self.some(adopt, SHORT_SECONDS, others, max(enough, 0))
        for group in groups(self.signers, adopted, digest_of):
            if group.result == best.result:
                best.replies |= group.replies
        return next(map(str, refusals.values()), "")

    # --- settlements --------------------------------------------------------------------------------

    async def settle(self, settlement: Settlement, domain: eip712.Domain, size: int) -> tuple[Signature, ...]:
        """The signatures of the first 2t+1 members to give them, in the vault's order; others may be away.

        `size` is of the log that has the settlement pending. Raises Unavailable if there are too few in
        SHORT_SECONDS.
        """
        request, digest = Message("settle", {"id": settlement.id}), settlement_digest(settlement, domain)

        async def signed(index: int) -> Signature:
            await self._followers[index].caught_up(size, SHORT_SECONDS)
            reply = await self.ask(index, request, SHORT_SECONDS)
            if not signed_by(self.signers, index, reply, digest):
                raise PeerFault("signed another settlement", peer=f"member {index}")
            return Signature(reply.blobs[0])

        tasks = [asyncio.create_task(signed(index)) for index in self._links]
        found, reason = list[Signature](), ""
        try:
            async with asyncio.timeout(SHORT_SECONDS):
                for done in asyncio.as_completed(tasks):
                    try:
                        found.append(await done)
                    except (PeerFault, Unavailable) as error:
                        reason = reason or str(error)
                    if len(found) == self.quorum:
                        return ordered_signatures(settlement, domain, found)
        except TimeoutError:
            reason = reason or f"no answer within {SHORT_SECONDS:g} s"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        raise Unavailable(
            f"settlement {settlement.id}: {len(found)}/{self.quorum} members signed: {reason}", "committee"
        )


def _about(op: str, sealed: SealedList, **fields: int | list[int]) -> Message:
    return Message(op, {"market": sealed.market.hex(), "round": sealed.round, **fields})
