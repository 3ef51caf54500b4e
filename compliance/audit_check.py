"""The whole check of an audit file, by the file and the auditor's key alone.

    file -> receipt -> grant -> lists -> orders -> results -> fills -> settlements -> chain

Each step is a line of the checklist: what was checked, how many, and what came out. A step that fails names
who is at fault; steps that need what failed are not done, and say so. The committee is the one that the
file's markets name: whoever asked (compliance/auditor_client.py) compared it with the vault, if a node was at
hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from commitments.errors import CommitmentsError, VerificationError
from commitments.sealing import BoxKey
from compliance.audit_file import UNDONE, AuditFile
from compliance.audit_outcome import Audit, AuditedFills, Check, NetLine, Outcome
from compliance.audit_rounds import check_landed, check_rounds, net_lines, result_of, terms_of
from compliance.completeness import (
    Lists,
    Opener,
    Report,
    RoundList,
    check_consumed,
    check_lists,
    examine,
    open_listed,
)
from compliance.disclosure_query import Basis
from compliance.fills import round_fills
from compliance.grant_checks import check_grant, open_grant
from compliance.grants import GrantRefused
from compliance.opening import NATIVE, Reason
from compliance.view_keys import ViewKey
from darkpool.client.answers import MarketInfo
from darkpool.eip712 import check_signer
from darkpool.errors import DarkpoolError, PeerFault
from darkpool.listing import RoundResult
from darkpool.market import RoundState
from darkpool.store.records import SettlementState
from darkpool.types import Address

_DAY: Final = 86_400
_NEEDED: Final = {"query", "grant", "lists", "results"}  # for what follows them
_BY: Final = {
    Reason.MISSING: "venue",
    Reason.MALFORMED: "venue",
    Reason.NOT_LISTED: "venue",
    Reason.OTHER_MARKET: "venue",
    Reason.BAD_SIGNATURE: "committee",
    Reason.BAD_PROOF: "committee",
    Reason.WRONG_KEY: "account",
    Reason.NOTE_CLOSED: "account",
    Reason.NOTE_FORGED: "account",
    Reason.COMMITMENT: "account",
}
"""Whose fault it is that an order does not open; that it is out of scope is nobody's."""


class NotComplete(Exception):  # noqa: N818 - names the outcome
    """A step that found nothing false, but not everything; caught below."""


def audit(
    file: AuditFile,
    auditor: Address,
    key: BoxKey | None,
    *,
    backend: str = NATIVE,
    opener: Opener = open_listed,
) -> Audit:
    """Verify a file. `auditor`: the account that asked; `key`: its box key, which opens the grant."""
    return _Verifier(file, auditor, key, backend, opener).run()


class _Verifier:
    """One pass over a file; each step leaves what the following need."""

    def __init__(
        self, file: AuditFile, auditor: Address, key: BoxKey | None, backend: str, opener: Opener
    ) -> None:
        self._file, self._auditor, self._key = file, auditor, key
        self._backend, self._opener = backend, opener
        self._query = file.answer.query
        self._checks: list[Check] = []
        self._info: MarketInfo | None = None
        grant = file.answer.grant
        self._account = self._query.account if grant is None else grant.header.account
        self._keys: tuple[ViewKey, ...] = ()
        self._lists: Lists | None = None
        self._report: Report | None = None
        self._results: dict[int, RoundResult] = {}
        self._fills: list[AuditedFills] = []
        self._nets: list[NetLine] = []
        self._undetermined: set[int] = set()

    def run(self) -> Audit:
        steps: tuple[tuple[str, str, Callable[[], int]], ...] = (
            ("file", "as the auditor that asked put it together", self._as_gathered),
            ("query", "the operator recorded this query and signed for its answer", self._receipt),
            ("grant", "signed by the account, for these days, sealed to this auditor", self._grant),
            ("lists", "every list of the days, its root, its members' signatures", self._sealed),
            ("orders", "every listed order opened, and is what was cleared", self._orders),
            ("results", "results of the account's rounds, certified by the committee", self._certified),
            ("fills", "the account's orders can have got what the results say", self._filled),
            ("settlements", "each is the sum of its rounds, and signed by the committee", self._settled),
            ("chain", "the vault moved just that for the account", self._chain),
        )
        for place, (name, what, step) in enumerate(steps):
            check = _checked(name, what, step)
            self._checks.append(check)
            if check.outcome in {Outcome.FAILS, Outcome.REFUSED} and name in _NEEDED:
                for later, about, _ in steps[place + 1 :]:
                    self._checks.append(Check(later, about, 0, Outcome.NOT_DONE, f"needs: {name}"))
                break
        checks = (*self._checks, *self._faults())
        return Audit(
            self._file,
            self._info,
            self._account,
            checks,
            self._report,
            tuple(self._fills),
            tuple(self._nets),
            frozenset(n for n in self._undetermined if self._account in self._results[n].nets),
        )

    @property
    def _market(self) -> MarketInfo:
        found = self._file.infos.get(self._query.market)
        if found is None:
            raise PeerFault("the file does not describe the market asked for", peer="venue")
        self._info = found
        return found

    # --- steps --------------------------------------------------------------------------------------

    def _as_gathered(self) -> int:
        try:
            check_signer(self._file.digest, self._file.signature, self._auditor)
        except VerificationError as error:
            raise PeerFault(f"not signed by this auditor: {error.problem}", peer="whoever kept it") from None
        return 1

    def _receipt(self) -> int:
        answer, info = self._file.answer, self._market
        domain, operator = info.terms.domain, info.operator
        for other in self._file.infos.values():
            if (other.terms.domain, other.operator, other.tenures) != (domain, operator, info.tenures):
                raise PeerFault("its markets are of several venues", peer="venue")
        answer.receipt.check(domain, operator, self._auditor, self._query.hash, answer.hash)
        return 1

    def _grant(self) -> int:
        answer, query = self._file.answer, self._query
        if query.basis is Basis.POLICY:
            raise NotComplete("asked by policy: the authorities open these orders by their handles")
        grant = answer.grant
        if grant is None or grant.header.id != query.grant or grant.header.market != query.market:
            raise PeerFault("the answer comes without the grant asked for", peer="venue")
        check_grant(grant, self._market.terms.domain, answer.receipt.at, query.days, answer.revocations)
        if self._key is None:
            raise NotComplete("without the auditor's key nothing opens")
        self._keys = open_grant(grant, self._key, query.days)
        return len(self._keys)

    def _sealed(self) -> int:
        info, query, answer = self._market, self._query, self._file.answer
        rounds = []
        for listed in answer.rounds:
            row = self._file.round(query.market, listed.round)
            if row is None:
                raise PeerFault(f"sealed list {listed.round} was not handed out", peer="venue")
            rounds.append(RoundList(row.view, listed.abandoned))
        if not rounds:
            raise NotComplete("no round of these days has been sealed yet")
        lists = check_lists(rounds, query.market, query.days, info.terms.domain, info.tenures)
        self._lists = lists
        if lists.unsigned:
            numbers = ", ".join(map(str, lists.unsigned[:8]))
            raise NotComplete(f"no member vouches yet for the lists of rounds {numbers}", len(rounds))
        if not lists.closed:
            raise NotComplete("a list of these days may still follow: ask again later", len(rounds))
        return len(rounds)

    def _orders(self) -> int:
        info, lists = self._market, self._known_lists()
        self._report = report = examine(
            lists,
            self._account,
            self._file.orders,
            info.terms,
            info.tenures,
            self._keys,
            backend=self._backend,
            opener=self._opener,
        )
        excused = [r for r in report.refusals if r.reason not in _BY]
        if len(excused) == len(report.refusals) and excused:
            raise NotComplete(f"{len(excused)} orders have no key in the grant", len(report.opened))
        if report.refusals:
            fault = next(r for r in report.refusals if r.reason in _BY)
            raise PeerFault(
                f"{len(report.refusals)} of {len(report.findings)} orders did not open: {fault.message}",
                peer=_BY[fault.reason],
            )
        return len(report.opened)

    def _known_lists(self) -> Lists:
        if self._lists is None:
            raise NotComplete("there is no list")
        return self._lists

    def _certified(self) -> int:
        """Of every round with an order that is asked about, unless it was abandoned or has not ended."""
        lists, report = self._known_lists(), self._report
        numbers = {n for finding in (() if report is None else report.findings) for n in finding.rounds}
        ended = {r.sealed.round for r in lists.rounds if r.sealed.signatures}
        for number in sorted(numbers & ended):
            row = self._file.round(self._query.market, number)
            if row is None or not row.result:
                raise PeerFault(f"round {number}: its result was not handed out", peer="venue")
            self._results[number] = result_of(self._file, row)
        check_consumed(lists, self._account, self._results)
        waiting = len(numbers - ended - {r.sealed.round for r in lists.rounds if r.abandoned})
        if waiting:
            raise NotComplete(f"{waiting} rounds have not ended", len(self._results))
        return len(self._results)

    def _filled(self) -> int:
        """Of every round sealed in the days.

        In lists sealed before or after them the account may have further orders, which are not asked about:
        then what one of them got is for the audit of those days.
        """
        done, unopened, states = 0, [], self._states()
        for number, result in self._results.items():
            orders = None if self._report is None else self._report.in_round(number)
            row = self._file.round(self._query.market, number)
            if row is None or orders is None:
                if row is not None and not self._in_days(row.view.sealed_at):
                    self._undetermined.add(number)
                else:
                    unopened.append(number)
                continue
            got, done = round_fills(result, self._account, orders), done + 1
            if result.crossed:
                price = terms_of(self._file, row).market.grid.price(result.price)
                self._fills.append(
                    AuditedFills(number, row.view.sealed_at, price, states[number], tuple(got))
                )
        if unopened:
            numbers = ", ".join(map(str, unopened[:8]))
            raise NotComplete(f"not all of its orders opened in rounds {numbers}", done)
        return done

    def _in_days(self, seconds: int) -> bool:
        return self._query.first_day <= seconds // _DAY <= self._query.last_day

    def _states(self) -> dict[int, RoundState]:
        return {listed.round: listed.state for listed in self._file.answer.rounds}

    # --- settlements ----------------------------------------------------------------------------------

    def _settled(self) -> int:
        """Of every round in which the account traded."""
        traded = {n for n, result in self._results.items() if self._account in result.nets}
        loose, done = 0, 0
        by_digest = {s.signed.digest: s for s in self._file.settlements}
        due: defaultdict[bytes, list[int]] = defaultdict(list)
        for listed in self._file.answer.rounds:
            if listed.round in traded and listed.settlement:
                due[listed.settlement].append(listed.round)
            else:
                loose += listed.round in traded
        for digest, numbers in due.items():
            settlement = by_digest.get(digest)
            if settlement is None:
                raise PeerFault(f"settlement 0x{digest.hex()} was not handed out", peer="venue")
            check_rounds(self._file, settlement, self._query.market, numbers)
            if settlement.state != SettlementState.VOID:
                self._nets += net_lines(self._file, settlement, self._account)
            done += 1
        if loose:
            raise NotComplete(f"{loose} rounds are in no settlement, or void by the venue's word", done)
        return done

    def _chain(self) -> int:
        """Of every settlement handed out."""
        if not self._file.chain:
            raise NotComplete("no node of the chain was asked: query with --rpc-url")
        count, missing = 0, 0
        for settlement in self._file.settlements:
            if settlement.state == UNDONE:
                number = settlement.signed.settlement.id
                raise PeerFault(
                    f"settlement {number} was undone after a contest: its fills are void", peer="committee"
                )
            if settlement.landed is None:
                missing += settlement.state != SettlementState.VOID
            else:
                count += check_landed(self._file, settlement, self._account)
        if missing:
            raise NotComplete(f"{missing} settlements are not on chain yet", count)
        return count

    def _faults(self) -> list[Check]:
        """Each order that did not open, by itself."""
        if self._report is None:
            return []
        return [
            Check(
                f"order 0x{refusal.order.hex()}",
                refusal.reason.value,
                1,
                Outcome.FAILS if refusal.reason in _BY else Outcome.INCOMPLETE,
                refusal.problem,
                _BY.get(refusal.reason, ""),
            )
            for refusal in self._report.refusals
        ]


def _checked(name: str, what: str, step: Callable[[], int]) -> Check:
    try:
        return Check(name, what, step(), Outcome.HOLDS)
    except NotComplete as reason:
        count = reason.args[1] if len(reason.args) > 1 else 0
        return Check(name, what, count, Outcome.INCOMPLETE, str(reason.args[0]))
    except GrantRefused as refused:
        return Check(name, what, 0, Outcome.REFUSED, refused.message, "account")
    except PeerFault as fault:
        return Check(name, what, 0, Outcome.FAILS, fault.message, fault.peer or "venue")
    except (DarkpoolError, CommitmentsError) as error:
        return Check(name, what, 0, Outcome.FAILS, str(error), "venue")
