"""View keys: what each opens and what not, their text, the fewest of them for a range of days."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commitments.encoding import Writer
from commitments.errors import VerificationError
from commitments.sealing import NodeKey
from compliance import bech32m
from compliance.auditor import Auditor, box_key
from compliance.view_keys import HRP, MAX_NODES, NO_END, Level, Scope, ViewKey, covering, key_for, scope_of
from darkpool.draft import leaf_node, open_note
from darkpool.errors import ConfigError
from darkpool.types import Address, Nonce
from tests.compliance.audit_support import DAY, TERMS, drafted
from tests.venue_support import buy, key_of

SEED = bytes(range(32))
ACCOUNT = Scope(31_337, Address(b"\x01" * 20), Address(b"\x02" * 20))
MARKET = replace(ACCOUNT, market=b"\x03" * 32)
DAY_OF = replace(MARKET, day=20_000)
ORDER = replace(DAY_OF, nonce=7)
SCOPES = (ACCOUNT, MARKET, DAY_OF, ORDER)
NEIGHBOURS = {
    "chain": replace(ORDER, chain_id=1),
    "contract": replace(ORDER, contract=Address(b"\x09" * 20)),
    "account": replace(ORDER, account=Address(b"\x09" * 20)),
    "market": replace(ORDER, market=b"\x09" * 32),
    "day": replace(ORDER, day=20_001),
    "order": replace(ORDER, nonce=8),
}

FROZEN = (
    "dpview1qypqqqqqqqqqq7nfqyqszqgpqyqszqgpqyqszqgpqyqszqgpqgpqyqszqgpqyqszqgpqyqszqgpqyqszqvpsxqcrqvpsxq"
    "crqvpsxqcrqvpsxqcrqvpsxqcrqvpsxqcrqvpsqqzwyqqqzqsrqszsvpcgpy9qkrqdpc83qygjzv2p29shrqv35xcur50p7dz67je"
)


@pytest.mark.parametrize("scope", SCOPES, ids=lambda s: s.level.name)
def test_every_node_leads_to_the_leaf_key_the_seed_leads_to(scope: Scope) -> None:
    assert ViewKey.of(SEED, scope).under(ORDER) == ViewKey.of(SEED, ORDER)


def test_the_leaf_key_is_the_one_orders_are_made_with() -> None:
    seed, order = key_of("ada")[::-1], drafted("ada", buy(1, 2))
    s = order.statement
    leaf = leaf_node(TERMS, Address(s.account), seed, Nonce(s.nonce), s.utc_day)
    assert ViewKey.of(seed, scope_of(s)).node == leaf


@pytest.mark.parametrize("part", NEIGHBOURS)
def test_a_node_leads_to_nothing_beside_it(part: str) -> None:
    covered_by = {"chain": 0, "contract": 0, "account": 0, "market": 1, "day": 2, "order": 3}[part]
    for scope in SCOPES:
        key = ViewKey.of(SEED, scope)
        if scope.level < covered_by:
            assert key.under(NEIGHBOURS[part]) == ViewKey.of(SEED, NEIGHBOURS[part])
        else:
            with pytest.raises(ConfigError, match="does not open that"):
                key.under(NEIGHBOURS[part])


@pytest.mark.parametrize("lower,upper", [(1, 0), (2, 1), (3, 2), (3, 0)])
def test_a_node_leads_to_nothing_above_it(lower: int, upper: int) -> None:
    with pytest.raises(ConfigError, match="does not open that"):
        ViewKey.of(SEED, SCOPES[lower]).under(SCOPES[upper])


def test_a_day_opens_the_notes_of_that_day_and_no_other() -> None:
    """The keys themselves, whatever scope a cheat writes on them."""
    seed, todays, tomorrows = (
        key_of("ada")[::-1],
        drafted("ada", buy(1, 2)),
        drafted("ada", buy(1, 2), DAY + 1),
    )
    day = ViewKey.of(seed, replace(scope_of(todays.statement), nonce=None))
    for drawn, fits in ((todays, True), (tomorrows, False)):
        s = drawn.statement
        claimed = ViewKey(replace(day.scope, day=s.utc_day), day.node).under(scope_of(s))
        args = (TERMS, claimed.node, Address(s.account), Nonce(s.nonce), s.salt, drawn.note)
        if fits:
            assert open_note(*args)[0] == buy(1, 2)
        else:
            with pytest.raises(VerificationError):
                open_note(*args)


@given(
    st.builds(
        Scope,
        st.integers(1, 2**64 - 1),
        st.binary(min_size=20, max_size=20).map(Address),
        st.binary(min_size=20, max_size=20).map(Address),
    ),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.sampled_from(Level),
    st.binary(min_size=32, max_size=32),
)
def test_a_text_is_read_back(
    account: Scope, market: bytes, day: int, nonce: int, level: Level, secret: bytes
) -> None:
    below = {"market": market, "day": day, "nonce": nonce}
    scope = replace(account, **dict(list(below.items())[: level.value]))  # type: ignore[arg-type]
    key = ViewKey(scope, NodeKey(secret))
    assert scope.level is level
    assert ViewKey.parse(key.export()) == key


def test_the_text_of_a_key_is_frozen() -> None:
    assert ViewKey(DAY_OF, NodeKey(SEED)).export() == FROZEN


def text_of(data: bytes) -> str:
    return bech32m.encode(HRP, data)


def whole() -> bytes:
    return bech32m.decode(ViewKey.of(SEED, ORDER).export(), HRP, "key")


@pytest.mark.parametrize(
    "text,problem",
    [
        ("", "begin with a name"),
        (text_of(b""), "version"),
        (text_of(b"\x02" + whole()[1:]), "version: only 1"),
        (text_of(b"\x01\x04" + whole()[2:]), "level"),
        (text_of(b"\x01\x02" + whole()[2:]), "8 trailing bytes"),  # an order's key said to be a day's
        (text_of(whole() + b"\x00"), "1 trailing bytes"),
        (text_of(whole()[:-1]), "cut short"),
        (text_of(whole()[:2] + bytes(8) + whole()[10:]), "chain id: out of range"),
        (bech32m.encode("dpaudit", whole()), "begin with dpview1"),
    ],
)
def test_a_malformed_text_is_refused_with_a_hint_and_unquoted(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        ViewKey.parse(text)
    assert caught.value.hint
    assert len(text) < 20 or text[10:] not in caught.value.rendered()


def test_no_repr_shows_a_key() -> None:
    key = ViewKey.of(SEED, ORDER)
    for shown in (repr(key), str(key), repr([key]), repr(box_key(SEED))):
        assert key.node.secret.hex() not in shown
        assert repr(key.node.secret)[2:-1] not in shown
        assert SEED.hex() not in shown


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": 0},
        {"chain_id": 2**64},
        {"contract": b""},
        {"account": bytes(21)},
        {"market": bytes(31)},
        {"day": 2**32},
        {"nonce": -1},
        {"market": None},
        {"day": None},
    ],
)
def test_a_scope_out_of_range_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="view key"):
        replace(ORDER, **changes)  # type: ignore[arg-type]


# --- the fewest keys for a range --------------------------------------------------------------------

ranges = st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted)
earlier = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), max_size=8)


@given(ranges, earlier)
def test_a_range_is_opened_and_nothing_else(days: list[int], orders: list[tuple[int, int]]) -> None:
    first, last = days
    standing = [(day, nonce) for day, nonce in orders if day <= last]
    keys = covering(SEED, MARKET, first, last, standing)
    for day in range(10):
        for nonce in range(4):
            scope = replace(MARKET, day=day, nonce=nonce)
            found = key_for(keys, scope)
            assert (found is not None) == (first <= day <= last or (day, nonce) in standing)
            assert found is None or found == ViewKey.of(SEED, scope)
    assert len({key.scope for key in keys}) == len(keys)
    assert not any(a.scope.covers(b.scope) for a in keys for b in keys if a is not b)


def test_the_market_itself_is_granted_only_for_all_time() -> None:
    assert [key.scope for key in covering(SEED, MARKET, 0, NO_END, [(4, 4)])] == [MARKET]
    with pytest.raises(ConfigError, match="its past included"):
        covering(SEED, MARKET, 1, NO_END)


@pytest.mark.parametrize(
    "scope,first,last,standing,problem",
    [
        (DAY_OF, 1, 2, [], "not a market"),
        (ACCOUNT, 1, 2, [], "not a market"),
        (MARKET, 2, 1, [], "no days from 2 to 1"),
        (MARKET, -1, 1, [], "no days"),
        (MARKET, 1, NO_END + 1, [], "no days"),
        (MARKET, 1, 2, [(3, 1)], "later than its last day"),
        (MARKET, 0, MAX_NODES, [], "1025 keys; the limit is 1024"),
        (MARKET, 1, MAX_NODES, [(0, 1)], "1025 keys"),
    ],
)
def test_what_cannot_be_granted_is_refused(
    scope: Scope, first: int, last: int, standing: list[tuple[int, int]], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        covering(SEED, scope, first, last, standing)


def test_the_most_that_fits_is_granted() -> None:
    assert len(covering(SEED, MARKET, 1, MAX_NODES)) == MAX_NODES


# --- auditors ---------------------------------------------------------------------------------------


def test_an_auditor_is_read_back_from_its_text() -> None:
    auditor = Auditor(Address(b"\x05" * 20), box_key(SEED).public)
    assert Auditor.parse(auditor.export()) == auditor
    assert box_key(SEED).public != box_key(SEED[::-1]).public


@pytest.mark.parametrize(
    "data,problem",
    [
        (b"\x02" + bytes(52), "version: only 1"),
        (b"\x01" + bytes(20) + box_key(SEED).public + b"\x00", "1 trailing bytes"),
        (b"\x01" + bytes(51), "cut short"),
        (b"\x01" + bytes(52), "auditor key: .*low order"),
        (bytes(Writer().uint(1, 1).fixed(bytes(20), 20).fixed(b"\xff" * 32, 32)), "canonical"),
    ],
)
def test_a_malformed_auditor_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Auditor.parse(bech32m.encode("dpaudit", data))
