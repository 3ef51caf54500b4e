"""A shared auditor's key: t+1 read, t do not, and whoever answers falsely is named."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from itertools import combinations

import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments import auditor_shares
from commitments.auditor_key import SecretKey
from commitments.auditor_shares import (
    MAX_AUTHORITIES,
    MAX_HANDLES,
    Partial,
    Share,
    Sharing,
    check_partial,
    combine,
    deal,
    partial,
)
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.group import Point, multiply_sum, using_backend
from commitments.params import CHALLENGE_BITS, GROUP_ORDER, LABEL_AUDITOR_PARTIAL, POWERS_CHALLENGE_BITS
from commitments.pedersen import generator_g, generator_h
from commitments.shamir import lagrange
from tests.commitments_support import corruptions
from tests.transcript_tape import everything_counts

SECRET = SecretKey(987_654_321)
BLINDS = (11, 2**200, GROUP_ORDER - 3)
HANDLES = tuple(SECRET.public * r for r in BLINDS)
OPEN = tuple(generator_h() * r for r in BLINDS)
REQUEST = b"file 7/2031"


@cache
def dealt(members: int = 4, threshold: int = 1) -> tuple[Sharing, tuple[Share, ...]]:
    return deal(SECRET, members, threshold)


@cache
def answers() -> tuple[Partial, ...]:
    return tuple(partial(share, HANDLES, REQUEST) for share in dealt()[1])


# --- what a sharing opens ---------------------------------------------------------------------------


@pytest.mark.parametrize("members, threshold", [(1, 0), (3, 0), (2, 1), (4, 1), (5, 2), (16, 3)])
def test_any_t_plus_1_authorities_read_every_handle(members: int, threshold: int) -> None:
    sharing, shares = dealt(members, threshold)
    sharing.check()
    for share in shares:
        share.check(sharing)
    given_answers = [partial(share, HANDLES, REQUEST) for share in shares]
    for chosen in list(combinations(given_answers, threshold + 1))[:6]:
        combined = combine(sharing, HANDLES, REQUEST, chosen)
        assert combined.points == OPEN
        assert combined.false == ()


def test_one_holder_alone_is_the_sharing_of_one() -> None:
    sharing, (share,) = dealt(1, 0)
    assert share.value * SECRET.value % GROUP_ORDER == 1
    assert sharing.verification_keys == (generator_h(),)


def test_t_authorities_do_not_read() -> None:
    sharing, shares = dealt(5, 2)
    two = [partial(share, HANDLES, REQUEST) for share in shares[:2]]
    with pytest.raises(VerificationError, match="2/3 true answers"):
        combine(sharing, HANDLES, REQUEST, two)
    # Nor by the formula: their points interpolate to something else.
    weights = lagrange((1, 2), 0, GROUP_ORDER)
    guess = multiply_sum([a.points[0] for a in two], list(weights.values()))
    assert guess != OPEN[0]


def test_an_authority_that_answers_twice_counts_once() -> None:
    with pytest.raises(VerificationError, match="1/2 true answers"):
        combine(dealt()[0], HANDLES, REQUEST, [answers()[0], partial(dealt()[1][0], HANDLES, REQUEST)])


def test_two_deals_share_nothing() -> None:
    first, second = (deal(SECRET, 3, 1)[1] for _ in range(2))
    assert not {s.value for s in first} & {s.value for s in second}


def test_the_reference_backend_agrees() -> None:
    files = dealt()[0].encode(), [a.encode() for a in answers()[:2]], [h.encode() for h in HANDLES[:3]]
    with using_backend("reference"):
        handles = [Point.decode(h, "handle") for h in files[2]]
        sharing, two = Sharing.decode(files[0]), [Partial.decode(a) for a in files[1]]
        opened = combine(sharing, handles, REQUEST, two).points
        assert [p.encode() for p in opened] == [generator_h_times(r) for r in BLINDS]
        with pytest.raises(VerificationError):
            check_partial(sharing, handles, REQUEST, replace(two[0], response=two[0].response + 1))


def generator_h_times(r: int) -> bytes:
    return (generator_h() * r).encode()


# --- liars ------------------------------------------------------------------------------------------


def lies() -> dict[str, Partial]:
    """Authority 1's false answers."""
    sharing, shares = dealt()
    honest, error = answers()[0], generator_g()
    first, second, third = honest.points
    return {
        "another share": replace(partial(shares[1], HANDLES, REQUEST), index=1),
        "another request": partial(shares[0], HANDLES, REQUEST + b"!"),
        "another order of handles": partial(shares[0], HANDLES[::-1], REQUEST),
        "one point changed": replace(honest, points=(first, second, third + error)),
        "errors that cancel": replace(honest, points=(first + error, second - error, third)),
        "one handle left out": partial(shares[0], HANDLES[:-1], REQUEST),
        "a made-up share": partial(Share(sharing.key, 1, 5), HANDLES, REQUEST),
    }


KINDS = list(lies())


@pytest.mark.parametrize("kind", KINDS)
def test_a_liar_is_named_and_not_used(kind: str) -> None:
    combined = combine(dealt()[0], HANDLES, REQUEST, [lies()[kind], *answers()[1:]])
    assert combined.false == (1,)
    assert combined.points == OPEN


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_liars_open_nothing(kind: str) -> None:
    with pytest.raises(VerificationError, match=r"1/2 true answers; false: authority 1$"):
        combine(dealt()[0], HANDLES, REQUEST, [lies()[kind], answers()[2]])


def test_an_authority_that_does_not_exist_is_named() -> None:
    stranger = replace(answers()[0], index=5)
    assert combine(dealt()[0], HANDLES, REQUEST, [stranger, *answers()[:2]]).false == (5,)


@pytest.mark.parametrize("name", [f.name for f in fields(Partial)])
def test_a_corrupt_field_is_refused(name: str) -> None:
    sharing, honest = dealt()[0], answers()[1]
    tried = 0
    for value in corruptions(getattr(honest, name), mpz(0)):
        with pytest.raises(VerificationError):
            check_partial(sharing, HANDLES, REQUEST, replace(honest, **{name: value}))
        tried += 1
    assert tried >= 2


def test_everything_said_counts() -> None:
    tape = everything_counts(
        auditor_shares, lambda: check_partial(dealt()[0], HANDLES, REQUEST, answers()[0])
    )
    assert [label.decode() for label, _ in tape.absorbed] == [
        *("context", "key", "verification_key", "handles", "points", "key_mask", "handle_mask")
    ]
    assert tape.protocols == [LABEL_AUDITOR_PARTIAL]
    assert tape.sizes == {b"y": POWERS_CHALLENGE_BITS, b"e": CHALLENGE_BITS}
    assert tape.at_challenge == {b"y": 5, b"e": 7}


@pytest.mark.parametrize("count", [0, MAX_HANDLES + 1])
def test_a_request_of_no_size_we_answer_is_refused(count: int) -> None:
    handles = [HANDLES[0]] * count
    with pytest.raises(ParameterError, match="allowed are 1 to 8192"):
        combine(dealt()[0], handles, REQUEST, [replace(answers()[0], points=tuple(handles))])
    with pytest.raises(ParameterError, match="allowed are 1 to 8192"):
        auditor_shares._open(SECRET.public, generator_h(), handles, handles, REQUEST)


# --- the dealer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("members, threshold", [(0, 0), (3, 3), (3, -1), (MAX_AUTHORITIES + 1, 1)])
def test_sizes_that_cannot_be_are_refused(members: int, threshold: int) -> None:
    with pytest.raises(ParameterError):
        deal(SECRET, members, threshold)
    keys = dealt()[0].verification_keys * 5
    with pytest.raises(VerificationError, match="need 0 <= t < n"):
        Sharing(SECRET.public, threshold, keys[:members]).check()


@pytest.mark.parametrize("at", range(4))
def test_a_dealer_that_hands_out_false_keys_is_caught(at: int) -> None:
    sharing, shares = dealt()
    keys = list(sharing.verification_keys)
    keys[at] += sharing.key
    false = replace(sharing, verification_keys=tuple(keys))
    with pytest.raises(VerificationError, match="do not share this key"):
        false.check()
    with pytest.raises(VerificationError, match="do not share this key"):
        combine(false, HANDLES, REQUEST, answers())
    with pytest.raises(VerificationError, match=f"authority {at + 1}'s"):
        shares[at].check(false)


def test_a_sharing_under_another_key_is_caught_by_its_holders_and_answers() -> None:
    other = replace(dealt()[0], key=SecretKey(5).public)
    for share in dealt()[1]:
        with pytest.raises(VerificationError, match="another sharing"):
            share.check(other)
    with pytest.raises(VerificationError, match=r"false: authority 1, 2, 3, 4$"):
        combine(other, HANDLES, REQUEST, answers())
    with pytest.raises(VerificationError, match="identity"):
        replace(other, key=Point.identity()).check()


def test_a_changed_share_is_caught_by_its_holder() -> None:
    sharing, shares = dealt()
    for bad in (replace(shares[0], value=shares[0].value + 1), replace(shares[0], index=2)):
        with pytest.raises(VerificationError, match=r"^share: "):
            bad.check(sharing)


def test_no_secret_in_repr() -> None:
    share, answer = dealt()[1][0], answers()[0]
    assert str(share.value) not in repr(share)
    shown = repr(answer) + repr(combine(dealt()[0], HANDLES, REQUEST, answers()))
    assert not any(repr(point) in shown for point in (*answer.points, *OPEN))


# --- files ------------------------------------------------------------------------------------------


def files() -> list[Sharing | Share | Partial]:
    sharing, shares = dealt()
    return [sharing, shares[2], answers()[3]]


@pytest.mark.parametrize("kind", range(3))
def test_files_are_read_strictly(kind: int) -> None:
    record = files()[kind]
    raw, decode = record.encode(), type(record).decode
    assert decode(raw) == record
    others = [other.encode() for other in files() if other is not record]
    for bad in (b"", raw[:4], raw[:-1], raw + b"\0", raw[:-32] + b"\xff" * 32, *others):
        with pytest.raises(DecodeError):
            decode(bad)


@pytest.mark.parametrize("kind", range(3))
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_flipped_bit_never_passes(kind: int, data: st.DataObject) -> None:
    record = files()[kind]
    raw = bytearray(record.encode())
    raw[data.draw(st.integers(0, len(raw) - 1), "byte")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    with pytest.raises((DecodeError, VerificationError)):
        check(type(record).decode(bytes(raw)))


def check(record: Sharing | Share | Partial) -> None:
    match record:
        case Sharing():
            record.check()
        case Share():
            record.check(dealt()[0])
        case Partial():
            check_partial(dealt()[0], HANDLES, REQUEST, record)


def test_authority_zero_is_refused() -> None:
    for record in (dealt()[1][0], answers()[0]):
        with pytest.raises(DecodeError, match=r"^index: zero"):
            type(record).decode(replace(record, index=0).encode())
