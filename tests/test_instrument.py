"""Human decimals and the venue's integers: exact both ways, or refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkpool.errors import ConfigError
from darkpool.instrument import MAX_PER_LOT, Instrument, TokenUnits
from darkpool.market import MAX_LOCKED, MAX_LOTS
from darkpool.types import Lots, Quanta

WETH = TokenUnits.parse("WETH", 18, "0.000000001")
USDC = TokenUnits.parse("USDC", 6, "0.000001")
MARKET = Instrument.parse("WETH-USDC", WETH, USDC, "0.01", "0.05")


def test_units_of_the_default_market() -> None:
    assert TokenUnits("WETH", 18, 10**9) == WETH
    assert TokenUnits("USDC", 6, 1) == USDC
    assert Instrument("WETH-USDC", WETH, USDC, Quanta(10**7), Quanta(500)) == MARKET


@pytest.mark.parametrize(
    "text, quanta, shown",
    [("2000.00", 20_000_000, "2000.00"), ("0.05", 500, "0.05"), ("2000.1", 20_001_000, "2000.10")],
)
def test_prices(text: str, quanta: int, shown: str) -> None:
    assert MARKET.price(text) == quanta
    assert MARKET.price_text(Quanta(quanta)) == shown
    assert MARKET.exact_price(text) == quanta


def test_a_price_beside_the_tick_is_exact_but_no_price() -> None:
    assert MARKET.exact_price("2000.033333") == Fraction(20_000_333_33, 100)
    with pytest.raises(ConfigError, match=r"price: got \"2000.033333\"; allowed: multiples of the tick 0.05"):
        MARKET.price("2000.033333")


def test_quantities_and_amounts_with_their_signs() -> None:
    assert MARKET.lots("0") == 0
    assert MARKET.lots("12.5") == 1250
    assert MARKET.quantity_text(Lots(-1250)) == "-12.5"
    assert MARKET.quantity_text(Lots(0)) == "0"
    assert MARKET.amount("1.5", "USDC") == 1_500_000
    assert MARKET.amount_text(Quanta(-1), "WETH") == "-0.000000001"


tokens = st.integers(0, 18).flatmap(
    lambda decimals: st.builds(
        TokenUnits, st.just("T"), st.just(decimals), st.integers(1, 10 ** min(decimals, 9))
    )
)


@given(tokens, st.integers(0, MAX_LOCKED))
def test_amounts_survive_the_round_trip(token: TokenUnits, quanta: int) -> None:
    text = token.text(Quanta(quanta))
    if len(text.partition(".")[0]) <= 18:
        assert token.quanta(text) == quanta
    else:
        with pytest.raises(ConfigError, match="18 digits"):
            token.quanta(text)


@given(st.integers(1, MAX_PER_LOT // 500), st.integers(0, MAX_LOTS))
def test_prices_and_quantities_survive_the_round_trip(ticks: int, lots: int) -> None:
    price = Quanta(ticks * 500)
    assert MARKET.price(MARKET.price_text(price)) == price
    assert MARKET.exact_price(MARKET.price_text(price)) == price
    assert MARKET.lots(MARKET.quantity_text(Lots(lots))) == lots


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 6))
def test_a_market_is_exact_or_refused_with_ticks_that_work(
    base_digits: int, quote_digits: int, lot: int, tick: int, digits: int
) -> None:
    base, quote = TokenUnits("B", base_digits, 1), TokenUnits("Q", quote_digits, 1)
    lot_text, tick_text = (
        base.text(Quanta(lot)),
        f"{tick // 10**digits}.{tick % 10**digits:0{digits}d}".rstrip("."),
    )
    per_lot = Fraction(tick, 10**digits) * Fraction(lot, 10**base_digits) * 10**quote_digits
    try:
        market = Instrument.parse("B-Q", base, quote, lot_text, tick_text)
    except ConfigError as error:
        assert per_lot.denominator != 1 or not 1 <= per_lot <= MAX_PER_LOT
        if error.hint.startswith("the nearest: "):
            for works in error.hint.removeprefix("the nearest: ").split(" and "):
                assert (Fraction(works) * Fraction(lot, 10**base_digits) * 10**quote_digits).denominator == 1
    else:
        assert market.tick == per_lot
        assert Fraction(market.price_text(market.tick)) == Fraction(tick, 10**digits)


@pytest.mark.parametrize(
    "text",
    [
        *("", " 1", "1 ", "+1", "-1", "1e3", "NaN", "inf", ".5", "5.", "01", "1,000", "1_000", "0x10", "1\n"),
        *("\u0661", "9" * 19, f"0.{'1' * 19}", "1" * 10_000),
    ],
)
def test_what_is_no_plain_decimal(text: str) -> None:
    for read in (MARKET.price, MARKET.lots, MARKET.exact_price, WETH.quanta):
        with pytest.raises(ConfigError) as refused:
            read(text)
        assert len(refused.value.message) < 200
    with pytest.raises(ConfigError):
        TokenUnits.parse("T", 18, text)


@pytest.mark.parametrize(
    "text, message, hint",
    [
        ("0.015", "quantity of WETH: 0.015 is no multiple of 0.01", "the nearest: 0.01 and 0.02"),
        ("0.001", "quantity of WETH: 0.001 is no multiple of 0.01", "the nearest: 0 and 0.01"),
        ("42949672.96", "quantity of WETH: 42949672.96 is out of range", "from 0 to 42949672.95"),
    ],
)
def test_quantities_that_are_no_lots(text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        MARKET.lots(text)
    assert (refused.value.message, refused.value.hint) == (message, hint)


def test_amounts_and_prices_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"amount of USDC: 0.0000001 is no multiple of 0.000001"):
        USDC.quanta("0.0000001")
    assert USDC.quanta("18446744073709.551615") == MAX_LOCKED
    with pytest.raises(ConfigError, match="out of range"):
        USDC.quanta("18446744073709.551616")
    with pytest.raises(ConfigError, match="a price above zero"):
        MARKET.price("0")
    with pytest.raises(ConfigError, match=r"price: 429496.75 is above 429496.70"):
        MARKET.price("429496.75")
    for price in (-500, 499, 20_000_001):
        with pytest.raises(ConfigError, match="no multiple of the tick 500"):
            MARKET.price_text(Quanta(price))
    with pytest.raises(ConfigError, match="no token 'DAI'"):
        MARKET.amount("1", "DAI")


@pytest.mark.parametrize(
    "lot, tick, message, hint",
    [
        ("0", "0.05", "lot is zero", "0.000000001"),
        ("0.0000000015", "0.05", "no multiple of 0.000000001", "the nearest: 0.000000001 and 0.000000002"),
        ("5", "0.05", "lot, base quanta: 5000000000", "another lot"),
        ("0.01", "0", "out of range", "from 0.0001"),
        ("0.01", "0.00005", "no multiple of 0.0001", "the nearest: 0.0001"),
        ("0.01", "0.00015", "no multiple of 0.0001", "the nearest: 0.0001 and 0.0002"),
        ("0.01", "500000", "tick, quote quanta per lot: 5000000000", "another lot"),
        ("0.01", "x", "tick for lots of 0.01: got 'x'", "correct"),
    ],
)
def test_lots_and_ticks_that_are_not_whole_quanta(lot: str, tick: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Instrument.parse("WETH-USDC", WETH, USDC, lot, tick)
    assert "WETH-USDC" in refused.value.message
    assert message in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize("lot, tick", [(0, 1), (1, 0), (-1, 1), (MAX_PER_LOT + 1, 1), (1, MAX_PER_LOT + 1)])
def test_units_out_of_range(lot: int, tick: int) -> None:
    with pytest.raises(ConfigError, match="must be 1 to 4294967297"):
        Instrument("M", WETH, USDC, Quanta(lot), Quanta(tick))


def test_a_tick_that_is_no_decimal() -> None:
    with pytest.raises(ConfigError, match="no decimal of 18 digits"):
        Instrument("M", WETH, USDC, Quanta(3), Quanta(1))


@pytest.mark.parametrize(
    "decimals, quantum, match",
    [
        (-1, 1, "-1 decimals"),
        (19, 1, "19 decimals"),
        (6, 0, "a quantum of 0"),
        (6, 1 << 128, "must be 1 to"),
    ],
)
def test_tokens_out_of_range(decimals: int, quantum: int, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        TokenUnits("T", decimals, quantum)


def test_a_quantum_below_the_contract_s_unit() -> None:
    with pytest.raises(ConfigError, match=r"quantum of USDC: 0.0000005 is no multiple of 0.000001"):
        TokenUnits.parse("USDC", 6, "0.0000005")
