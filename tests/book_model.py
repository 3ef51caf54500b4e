"""What holds of a book, its traders and a plain chain after every step, whatever the steps are."""

from __future__ import annotations

from collections import Counter

from hypothesis.stateful import RuleBasedStateMachine, invariant

from darkpool.draft import Collateral
from darkpool.listing import ListedOrder
from darkpool.market import Side
from darkpool.order import Order
from darkpool.types import Address, Nonce, Quanta, RoundId
from tests.venue_log import Venue, portrait
from tests.venue_support import BASE, NAMES, QUOTE

TOKENS = (BASE, QUOTE)


class BookModel(RuleBasedStateMachine):
    """One market, three traders. `chain` holds balances; `owed` the movements of results not yet settled."""

    def __init__(self) -> None:
        super().__init__()
        self.venue = Venue(rich=Quanta(0))
        self.chain: Counter[tuple[str, Address]] = Counter()
        self.supply: Counter[Address] = Counter()
        self.owed: dict[RoundId, list[tuple[str, Address, int]]] = {}
        self.accepted: list[ListedOrder] = []
        self.halted: dict[str, set[tuple[str, int]]] = {}  # requests on chain without an answer
        self.paid: Counter[tuple[str, Address]] = Counter()  # withdrawn since, and in F until they resume
        self.stale: dict[str, tuple[Collateral, Collateral]] = {}

    def lock(self, order: Order) -> tuple[int, int]:
        market = self.venue.terms.market
        if order.side is Side.SELL:
            return order.quantity * market.lot, 0
        return 0, order.quantity * market.grid.price(order.level)

    def busy(self, name: str) -> bool:
        """Whether an order of the account is in a sealed round, or a result of it is not settled."""
        owed = any(name == row[0] for rows in self.owed.values() for row in rows)
        return bool(self.venue.wallets[name].live) or owed

    def resume(self) -> None:
        """Who is answered and idle trades again, from the chain's balance."""
        for name in [n for n, left in self.halted.items() if not left and not self.busy(n)]:
            del self.halted[name]
            for token in TOKENS:
                del self.paid[name, token]

    # --- what always holds ------------------------------------------------------------------------------

    @invariant()
    def openings_open_the_books_commitments(self) -> None:
        self.venue.check()

    @invariant()
    def what_is_free_is_the_balance_less_locks_and_debts(self) -> None:
        for name, wallet in self.venue.wallets.items():
            for place, token in enumerate(TOKENS):
                locks = sum(self.lock(live.order)[place] for live in wallet.live)
                debts = sum(
                    -amount
                    for rows in self.owed.values()
                    for who, what, amount in rows
                    if (who, what) == (name, token) and amount < 0
                )
                balance = self.chain[name, token] + self.paid[name, token]
                assert wallet.free(token) == balance - locks - debts >= 0

    @invariant()
    def ledger_and_chain_agree(self) -> None:
        ledger, wallets = self.venue.state.ledger, self.venue.wallets
        assert ledger.halted == {wallets[name].address: left for name, left in self.halted.items()}
        for name, token in ((n, t) for n in NAMES for t in TOKENS):
            assert ledger.balances.get((wallets[name].address, token), 0) == self.chain[name, token] >= 0

    @invariant()
    def tokens_are_conserved(self) -> None:
        for token in TOKENS:
            assert sum(self.chain[name, token] for name in NAMES) == self.supply[token]
            for rows in self.owed.values():
                assert sum(amount for _, what, amount in rows if what == token) == 0

    @invariant()
    def no_nonce_is_accepted_twice(self) -> None:
        seen: Counter[tuple[Address, Nonce]] = Counter((o.account, o.nonce) for o in self.accepted)
        assert all(count == 1 for count in seen.values())

    @invariant()
    def book_and_traders_agree_on_what_stands(self) -> None:
        for wallet in self.venue.wallets.values():
            mine = [o.nonce for o in self.venue.book.standing if o.account == wallet.address]
            assert mine == [live.nonce for live in wallet.live]
            assert self.venue.book.open_orders(wallet.address) == len(mine)

    def teardown(self) -> None:
        """The log alone makes the same state."""
        assert portrait(self.venue.folded()) == portrait(self.venue.state)
