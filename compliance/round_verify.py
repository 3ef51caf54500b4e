"""What anybody can verify of a round, from public data alone (round_file.py), and what rests on trust.

    terms -> list -> orders -> proofs -> result -> conservation -> settlement -> chain

Each step is a line of the checklist, as in an audit. Not public, and so on trust in 2t+1 members of whom at
most t are malicious and passive in the clearing itself: that the sums were opened to shares of what they
encrypt, that price, volume and nets are what the auction rule makes of them, and whose orders at the marginal
tick got the last lots. Each account recomputes its own part from its own orders (`darkpool fills`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from commitments.errors import CommitmentsError
from commitments.paillier import PublicKey
from compliance.audit_outcome import EXIT_DONE, EXIT_FAULT, EXIT_INCOMPLETE, Check, Outcome
from compliance.audit_rounds import check_rounds, info_of, result_of, terms_of
from compliance.round_file import RoundFile
from darkpool.admission import unproven
from darkpool.client.answers import MarketInfo
from darkpool.errors import DarkpoolError, OrderRefused, PeerFault
from darkpool.listing import RoundResult
from darkpool.order import SealedOrder, check_order_signature
from darkpool.store.records import SettlementState

ON_TRUST: Final = (
    "that the members opened the sums of these orders, and nothing else",
    "that price, volume and nets are what the auction rule makes of them",
    "whose orders at the marginal tick got the last lots",
)
"""What public data does not show; each account checks its own part by its own orders."""

Prover = Callable[[PublicKey, Sequence[bytes]], Mapping[int, OrderRefused]]
"""(key, orders' bytes) -> refusals by position."""


class Waiting(Exception):  # noqa: N818 - names the outcome
    """Nothing false was found, but there is more to come; caught below."""


def verify_round(file: RoundFile, prover: Prover = unproven) -> tuple[Check, ...]:
    """The checklist of a round; `prover` verifies the orders' proofs."""
    return _Verifier(file, prover).run()


def exit_code(checks: Sequence[Check]) -> int:
    """0 all holds; 3 somebody's fault; 1 not everything could be verified yet."""
    outcomes = {check.outcome for check in checks}
    if Outcome.FAILS in outcomes:
        return EXIT_FAULT
    return EXIT_DONE if outcomes == {Outcome.HOLDS} else EXIT_INCOMPLETE


class _Verifier:
    def __init__(self, file: RoundFile, prover: Prover) -> None:
        self._file, self._prover = file, prover
        self._row = file.subject
        self._orders: list[SealedOrder] = []
        self._result: RoundResult | None = None

    def run(self) -> tuple[Check, ...]:
        steps: tuple[tuple[str, str, Callable[[], int]], ...] = (
            ("list", "its root is that of its leaves, and 2t+1 members signed it", self._listed),
            ("orders", "each is as listed, of this market, and signed by its account", self._signed),
            ("proofs", "each is well formed and funded", self._proven),
            ("result", "2t+1 members signed price, volume and nets", self._certified),
            ("conservation", "bought is sold, and no more than the volume", self._conserved),
            ("settlement", "the sum of its rounds' results, signed by 2t+1 members", self._settled),
            ("chain", "the vault did just that", self._landed),
        )
        checks: list[Check] = []
        for place, (name, what, step) in enumerate(steps):
            checks.append(_checked(name, what, step))
            if checks[-1].outcome is Outcome.FAILS:
                left = steps[place + 1 :]
                return (*checks, *(Check(n, w, 0, Outcome.NOT_DONE, f"needs: {name}") for n, w, _ in left))
        return tuple(checks)

    @property
    def _info(self) -> MarketInfo:
        return info_of(self._file, self._row.market)

    def _listed(self) -> int:
        view = self._row.view
        view.check_leaves()
        if not view.signatures:
            raise Waiting("it has no result: it is under way, or it was aborted and its orders released")
        view.check(self._info.terms.domain, self._info.tenures.at(view.sealed_at).signers)
        return len(view.leaves)

    def _signed(self) -> int:
        info, view = self._info, self._row.view
        for digest, leaf in zip(view.hashes, view.leaves, strict=True):
            raw = self._file.orders.get(digest)
            if raw is None:
                raise PeerFault(f"order 0x{digest.hex()} was not handed out", peer="venue")
            try:
                order = info.order(raw)
                check_order_signature(info.terms.domain, order.statement, order.hash, order.signature)
            except (CommitmentsError, OrderRefused) as error:
                raise PeerFault(f"order 0x{digest.hex()}: {error}", peer="committee") from None
            if order.leaf != leaf or order.statement.market != self._row.market:
                raise PeerFault(f"order 0x{digest.hex()}: it is listed as another", peer="committee")
            self._orders.append(order)
        if len({(o.account, o.nonce) for o in self._orders}) != len(self._orders):
            raise PeerFault("a nonce is in the list twice", peer="committee")
        return len(self._orders)

    def _proven(self) -> int:
        if not self._orders:
            return 0
        key = self._info.tenures.key(self._orders[0].statement.key_id)  # another one's would not decode
        for position, refusal in sorted(self._prover(key, [order.raw for order in self._orders]).items()):
            digest = self._orders[position].hash
            raise PeerFault(f"order 0x{digest.hex()}: {refusal.message}", peer="committee")
        return len(self._orders)

    def _certified(self) -> int:
        if not self._row.view.signatures:
            raise Waiting("there is none")
        if not self._row.result:
            raise PeerFault("it was not handed out", peer="venue")
        self._result = result_of(self._file, self._row)
        return len(self._result.nets)

    def _conserved(self) -> int:
        """Nets sum to zero and are the list's accounts'; price and volume are within the terms."""
        result = self._known_result()
        if not result.crossed:
            return 0
        market, nets = terms_of(self._file, self._row).market, result.nets
        strangers = set(nets) - {order.account for order in self._orders}
        bought = sum(net for net in nets.values() if net > 0)
        if strangers or sum(nets.values()) or not bought <= result.volume:
            raise PeerFault("nets of strangers, or that do not add up", peer="committee")
        if not 0 <= result.price <= market.grid.last or result.volume < market.min_volume:
            raise PeerFault("price or volume are outside the market's terms", peer="committee")
        return len(nets)

    def _known_result(self) -> RoundResult:
        if self._result is None:
            raise Waiting("there is no result")
        return self._result

    def _settled(self) -> int:
        if not self._known_result().crossed:
            return 0
        settlement = self._file.settlement
        if settlement is None or not settlement.signed.signatures:
            raise Waiting("it is in none yet, or in one that is not signed yet")
        check_rounds(self._file, settlement, self._row.market, [self._row.number])
        return len(settlement.rounds)

    def _landed(self) -> int:
        if not self._known_result().crossed:
            return 0
        settlement = self._file.settlement
        if not self._file.chain:
            raise Waiting("no node of the chain was asked: give --rpc-url")
        if settlement is None or settlement.landed is None:
            void = settlement is not None and settlement.state == SettlementState.VOID
            raise Waiting("void: its fills were busted" if void else "it is not on chain yet")
        if settlement.landed.settlement != settlement.signed.settlement:
            raise PeerFault("under its id the vault did something else", peer="committee")
        return 1


def _checked(name: str, what: str, step: Callable[[], int]) -> Check:
    try:
        return Check(name, what, step(), Outcome.HOLDS)
    except Waiting as reason:
        return Check(name, what, 0, Outcome.INCOMPLETE, str(reason))
    except PeerFault as fault:
        return Check(name, what, 0, Outcome.FAILS, fault.message, fault.peer or "venue")
    except (DarkpoolError, CommitmentsError) as error:
        return Check(name, what, 0, Outcome.FAILS, str(error), "venue")
