"""Markets as the API answers them: all that a client needs to seal an order for one."""

from __future__ import annotations

from dataclasses import dataclass

from api.parameters import AddressText, HashText, HexText, Uint
from darkpool.jsonfields import hex_text
from darkpool.market import Round, RoundState
from darkpool.message import terms_message
from darkpool.tenure import Tenures
from darkpool.types import Address, address_hex
from darkpool.venue import MarketView


@dataclass(frozen=True, slots=True)
class OpenRound:
    """The market's latest round; `reference_price` in quote tokens per base token."""

    number: Uint
    state: RoundState
    reference: Uint
    reference_price: str

    @staticmethod
    def of(view: MarketView, found: Round) -> OpenRound:
        """Of a market's round."""
        grid = view.terms.market.grid
        price = view.instrument.price_text(grid.price(found.reference))
        return OpenRound(found.id, found.state, found.reference, price)


@dataclass(frozen=True, slots=True)
class MarketItem:
    """A market in the list; lot in base tokens, tick in quote tokens per base token, both decimal.

    instrument: its plain name, which the markets of all segments share; live: whether it gets new rounds;
    key_epoch: the committee's, with which its description changes.
    """

    id: HashText
    name: str
    instrument: str
    segment: str
    live: bool
    base: str
    quote: str
    lot: str
    tick: str
    terms_hash: HashText
    key_epoch: Uint
    round: OpenRound | None
    next_seal_at: Uint | None

    @staticmethod
    def of(view: MarketView, tenures: Tenures) -> MarketItem:
        """Of a market."""
        market, instrument = view.terms.market, view.instrument
        return MarketItem(
            id=hex_text(market.id),
            name=market.name,
            instrument=market.instrument,
            segment=market.segment,
            live=view.live,
            base=instrument.base.symbol,
            quote=instrument.quote.symbol,
            lot=instrument.base.text(market.lot),
            tick=instrument.price_text(market.grid.tick),
            terms_hash=hex_text(view.terms.hash),
            key_epoch=tenures.current.key_epoch,
            round=None if view.round is None else OpenRound.of(view, view.round),
            next_seal_at=view.next_seal_at,
        )


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the vault; quantum in units of its contract."""

    address: AddressText
    symbol: str
    decimals: Uint
    quantum: int


@dataclass(frozen=True, slots=True)
class MemberView:
    """A member of the committee and the address it signs with."""

    index: Uint
    address: AddressText


@dataclass(frozen=True, slots=True)
class Committee:
    """Whose keys orders are sealed to, and who signs; modulus: of the Paillier key.

    key_epoch: how often shares or key were changed; history: the first committee, then the log's entries that
    put the others into office, canonical bytes.
    """

    threshold: Uint
    members: list[MemberView]
    key_id: HashText
    modulus: HexText
    key_epoch: Uint
    history: list[HexText]

    @staticmethod
    def of(tenures: Tenures) -> Committee:
        """The one in office, and those before it."""
        now = tenures.current
        members = [MemberView(i, address_hex(a)) for i, a in sorted(now.signers.addresses.items())]
        return Committee(
            now.signers.threshold,
            members,
            hex_text(now.key.key_id),
            hex_text(now.key.encode()),
            now.key_epoch,
            [hex_text(entry) for entry in tenures.encode()],
        )


@dataclass(frozen=True, slots=True)
class MarketDetail:
    """All a client needs to seal an order. `terms` is the log's entry of them: canonical bytes.

    lot: base quanta; p_0, tick: quote quanta per lot; lowest_price, highest_price: decimal text.
    """

    summary: MarketItem
    base: Token
    quote: Token
    lot: Uint
    p_0: Uint
    tick: Uint
    levels: Uint
    lowest_price: str
    highest_price: str
    pressure_ticks: Uint
    min_volume: Uint
    min_accounts: Uint
    min_orders: Uint
    chain_id: Uint
    contract: AddressText
    venue: HashText
    operator: AddressText
    policy_hash: HashText
    settle_window: Uint
    tokens: list[AddressText]
    auditor_keys: list[HexText]
    committee: Committee
    terms: HexText

    @staticmethod
    def of(view: MarketView, tenures: Tenures, operator: Address) -> MarketDetail:
        """Of a market."""
        terms, instrument = view.terms, view.instrument
        market, grid = terms.market, terms.market.grid
        base, quote = (
            Token(address_hex(address), units.symbol, units.decimals, units.quantum)
            for address, units in ((market.base, instrument.base), (market.quote, instrument.quote))
        )
        return MarketDetail(
            summary=MarketItem.of(view, tenures),
            base=base,
            quote=quote,
            lot=market.lot,
            p_0=grid.p_0,
            tick=grid.tick,
            levels=grid.levels,
            lowest_price=instrument.price_text(grid.p_0),
            highest_price=instrument.price_text(grid.price(grid.last)),
            pressure_ticks=market.pressure_ticks,
            min_volume=market.min_volume,
            min_accounts=market.min_accounts,
            min_orders=market.min_orders,
            chain_id=terms.chain_id,
            contract=address_hex(terms.contract),
            venue=hex_text(terms.venue),
            operator=address_hex(operator),
            policy_hash=hex_text(terms.policy_hash),
            settle_window=terms.settle_window,
            tokens=[address_hex(token) for token in terms.tokens],
            auditor_keys=[hex_text(key.encode()) for key in terms.auditor_keys],
            committee=Committee.of(tenures),
            terms=hex_text(terms_message(terms, 0).encode()),
        )
