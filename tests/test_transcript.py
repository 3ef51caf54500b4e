"""The Fiat-Shamir transcript: TupleHash256 known answers, and every change changes every challenge."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from Crypto.Hash import TupleHash256
from hypothesis import given
from hypothesis import strategies as st

from commitments.errors import ParameterError
from commitments.transcript import LABEL_TRANSCRIPT, MAX_ITEM_BYTES, MAX_ITEMS, Transcript

# One step of a transcript: ("one", label, data), ("many", label, items) or ("ask", label, bits).
Step = tuple[str, bytes, bytes | tuple[bytes, ...] | int]

# NIST "TupleHash samples" for SP 800-185, samples 4, 5 and 6.
SAMPLES = [
    (
        "000102,101112131415",
        b"",
        (
            "cfb7058caca5e668f81a12a20a2195ce97a925f1dba3e7449a56f82201ec6073"
            "11ac2696b1ab5ea2352df1423bde7bd4bb78c9aed1a853c78672f9eb23bbe194"
        ),
    ),
    (
        "000102,101112131415",
        b"My Tuple App",
        (
            "147c2191d5ed7efd98dbd96d7ab5a11692576f5fe2a5065f3e33de6bba9f3aa1"
            "c4e9a068a289c61c95aab30aee1e410b0b607de3620e24a4e3bf9852a1d4367e"
        ),
    ),
    (
        "000102,101112131415,202122232425262728",
        b"My Tuple App",
        (
            "45000be63f9b6bfd89f54717670f69a9bc763591a4f05c50d68891a744bcc6e7"
            "d6d5b5e82c018da999ed35b0bb49c9678e526abd8e85c13ed254021db9e790ce"
        ),
    ),
]

BASE: list[Step] = [
    ("one", b"statement", b"alpha"),
    ("many", b"points", (b"p", b"qq", b"")),
    ("one", b"empty", b""),
    ("ask", b"y", 252),
    ("many", b"responses", (b"z1", b"z2")),
    ("one", b"tail", b"\x00" * 40),
]


def tuple_hash(elements: list[bytes], custom: bytes) -> bytes:
    h = TupleHash256.new(digest_bytes=64, custom=custom)  # type: ignore[arg-type]
    h.update(*elements)
    return h.digest()


def play(steps: list[Step], protocol: bytes = b"test") -> list[int]:
    """Every challenge of the steps, and a last one."""
    transcript = Transcript(protocol)
    challenges = []
    for kind, label, value in steps:
        if kind == "one":
            assert isinstance(value, bytes)
            transcript.absorb(label, value)
        elif kind == "many":
            assert isinstance(value, tuple)
            transcript.absorb_many(label, value)
        else:
            assert isinstance(value, int)
            challenges.append(transcript.challenge(label, value))
    return [*challenges, transcript.challenge(b"e", 128)]


@pytest.mark.parametrize("elements,custom,digest", SAMPLES)
def test_pycryptodome_meets_the_nist_samples(elements: str, custom: bytes, digest: str) -> None:
    assert tuple_hash([bytes.fromhex(e) for e in elements.split(",")], custom).hex() == digest


def test_challenges_are_the_documented_hashes() -> None:
    y, e = play(BASE)
    first = tuple_hash(
        [
            b"\x00test",
            b"\x01statement",
            b"alpha",
            b"\x02points",
            bytes.fromhex("0000000300000001") + b"p" + bytes.fromhex("00000002") + b"qq" + bytes(4),
            b"\x01empty",
            b"",
            b"\x03y",
            (252).to_bytes(4, "big"),
        ],
        LABEL_TRANSCRIPT,
    )
    assert y == int.from_bytes(first[:32], "big") >> 4
    second = tuple_hash(
        [
            b"\x04",
            first,
            b"\x02responses",
            bytes.fromhex("0000000200000002") + b"z1" + bytes.fromhex("00000002") + b"z2",
            b"\x01tail",
            bytes(40),
            b"\x03e",
            (128).to_bytes(4, "big"),
        ],
        LABEL_TRANSCRIPT,
    )
    assert e == int.from_bytes(second[:16], "big")


def test_frozen_challenges() -> None:
    # Frozen with version 1 of the transcript; never regenerate.
    y, e = play(BASE)
    assert y == FROZEN_Y
    assert e == FROZEN_E


FROZEN_Y = 0x7733E522FBC1CC3C6A68982C4AB45D81B9BE1DE55A89456B8F21B0105D6E2C6
FROZEN_E = 0xDE416AEF71F23235710C93F4A73FB7C1


def test_both_sides_agree_and_another_protocol_does_not() -> None:
    assert play(BASE) == play(list(BASE))
    assert not set(play(BASE)) & set(play(BASE, b"other"))


def flips(steps: list[Step]) -> list[tuple[int, list[Step]]]:
    """Every transcript one flipped, moved, merged, split, dropped or doubled part away, with where."""
    changed: list[tuple[int, list[Step]]] = []

    def add(at: int, replacement: list[Step], width: int = 1) -> None:
        changed.append((at, steps[:at] + replacement + steps[at + width :]))

    for at, (kind, label, value) in enumerate(steps):
        add(at, [])
        add(at, [steps[at], steps[at]])
        add(at, [(kind, label + b"x", value)])
        add(at, [(kind, bytes([label[0] ^ 1]) + label[1:], value)])
        if at + 1 < len(steps):
            add(at, [steps[at + 1], steps[at]], 2)
        if isinstance(value, bytes):
            add(at, [(kind, label, value + b"\x00")])
            add(at, [("many", label, (value,))])
            add(at, [(kind, label + value[:1], value[1:])] if value else [(kind, label, b"\x00")])
            for i in range(len(value)):
                add(at, [(kind, label, value[:i] + bytes([value[i] ^ 0x80]) + value[i + 1 :])])
        elif isinstance(value, tuple):
            add(at, [("one", label, b"".join(value))])
            add(at, [("one", label, item) for item in value])
            add(at, [(kind, label, (*value, b""))])
            add(at, [(kind, label, value[:-1])])
            add(at, [(kind, label, value[::-1])])
            add(at, [(kind, label, (b"".join(value[:2]), *value[2:]))])
            add(at, [(kind, label, (value[0], b"", *value[1:]))])
            add(at, [(kind, label, (b"", value[0] + value[1], *value[2:]))])
        else:
            add(at, [(kind, label, value - 1)])
            add(at, [("one", label, value.to_bytes(4, "big"))])
    return list({repr(steps): (at, steps) for at, steps in changed}.values())


def test_any_change_changes_every_later_challenge() -> None:
    base = play(BASE)
    seen = {base[-1]}
    asked = [at for at, step in enumerate(BASE) if step[0] == "ask"]
    for at, steps in flips(BASE):
        assert steps != BASE
        challenges = play(steps)
        assert challenges[-1] not in seen  # no two of them collide either
        seen.add(challenges[-1])
        if at + 1 < asked[0]:  # everything before y, including a swap, which touches two steps
            assert base[0] not in challenges
    assert len(seen) > 60


def test_a_challenge_depends_on_the_label_and_length_of_the_one_before() -> None:
    endings = {
        play([*BASE[:3], ("ask", label, bits)])[-1] for label in (b"y", b"z") for bits in (128, 129, 512)
    }
    assert len(endings) == 6


items = st.binary(max_size=6)
steps_strategy = st.lists(
    st.one_of(
        st.tuples(st.just("one"), st.binary(min_size=1, max_size=3), items),
        st.tuples(st.just("many"), st.binary(min_size=1, max_size=3), st.lists(items, max_size=3).map(tuple)),
        st.tuples(st.just("ask"), st.binary(min_size=1, max_size=3), st.integers(128, 512)),
    ),
    max_size=5,
)


@given(steps_strategy, steps_strategy)
def test_equal_challenges_mean_equal_transcripts(left: list[Step], right: list[Step]) -> None:
    assert (play(left) == play(right)) == (left == right)


@given(st.integers(128, 512), st.binary(max_size=20))
def test_challenges_have_their_size(bits: int, data: bytes) -> None:
    transcript = Transcript(b"test")
    transcript.absorb(b"data", data)
    assert 0 <= transcript.challenge(b"c", bits) < 1 << bits


def test_challenges_reach_the_top_bit() -> None:
    transcript = Transcript(b"test")
    tops = {transcript.challenge(b"c", 128) >> 127 for _ in range(64)}
    assert tops == {0, 1}


@pytest.mark.parametrize(
    "misuse,says",
    [
        (lambda t: t.absorb(b"", b"x"), "0 bytes"),
        (lambda t: t.absorb(b"l" * 256, b"x"), "256 bytes"),
        (lambda t: t.absorb_many(b"", []), "0 bytes"),
        (lambda t: t.challenge(b"", 128), "0 bytes"),
        (lambda t: t.challenge(b"e", 127), "127 bits"),
        (lambda t: t.challenge(b"e", 513), "513 bits"),
        (lambda t: t.absorb(b"big", bytes(MAX_ITEM_BYTES + 1)), "big: 16777217 bytes"),
        (lambda t: t.absorb_many(b"big", [bytes(1 << 20)] * 17), "big: 17825792 bytes"),
        (lambda t: t.absorb_many(b"long", [b""] * (MAX_ITEMS + 1)), "long: 1048577 items"),
    ],
)
def test_misuse_is_refused(misuse: Callable[[Transcript], object], says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        misuse(Transcript(b"test"))


def test_an_empty_protocol_is_refused() -> None:
    with pytest.raises(ParameterError):
        Transcript(b"")
