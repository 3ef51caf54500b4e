"""An auditor's key shared among authorities: any t+1 of n read an order together, t cannot.

To read a handle D = rA one needs bD = rH, b = 1/a. A dealer shares b (Shamir modulo r) and publishes
V_i = b_i A, which lie in the exponent on a polynomial whose value at 0 is H: so anyone can check that the
sharing is of the key. Authority i answers handles D_1 .. D_N with P_j = b_i D_j and one proof for all:

    PoK{ b_i :  V_i = b_i A,  P_j = b_i D_j for every j }

  0. context, A, V_i, all D_j, all P_j                -> y (252 bits); D = sum y^j D_j, P = sum y^j P_j
  1. S_key = tA, S_handles = tD                       -> e (128 bits)
  2. z = t + e b_i;    zA = S_key + e V_i,   zD = S_handles + e P.
Some P_j not b_i D_j passes with probability N / 2^252. Transcript order is this order. The answers of t+1
authorities whose proofs hold are interpolated in the exponent; whose proof does not hold is named.

One holder alone is n = 1, t = 0: b_1 = b, V_1 = H. The dealer knows a and must forget it (as the committee's
dealer, threat model). An answer opens whatever handle it is given, so an authority answers only for handles
of orders whose proofs it has checked: those are r A for an r the sender knew. Answers are confidential: from
t+1 of them follows rH, and with it anyone reads the order.

Chaum, Pedersen 1992; batched as RFC 9497, section 2.2.1; Desmedt, Frankel 1989; Feldman 1987.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from commitments.auditor_key import SecretKey, read_label
from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.group import Point, Scalar, multiply_sum
from commitments.params import (
    CHALLENGE_BITS,
    GROUP_ORDER,
    LABEL_AUDITOR_PARTIAL,
    LABEL_AUDITOR_SHARE,
    LABEL_AUDITOR_SHARING,
    POINT_BYTES,
    POWERS_CHALLENGE_BITS,
    SCALAR_BYTES,
)
from commitments.pedersen import generator_h, random_scalar
from commitments.shamir import lagrange, share
from commitments.transcript import Transcript

MAX_AUTHORITIES: Final = 16
MAX_HANDLES: Final = 8_192  # of one request: q and m of 4,096 orders


@dataclass(frozen=True, slots=True)
class Sharing:
    """The public side: A, how many shares say nothing (t), and V_1 .. V_n."""

    key: Point
    threshold: int
    verification_keys: tuple[Point, ...]

    def check(self) -> None:
        """Raises VerificationError unless V_1 .. V_n share 1/a: any t+1 of their shares open what A demands.

        Whether an authority holds its share is for `Share.check` and for its answers.
        """
        n, t, keys = len(self.verification_keys), self.threshold, self.verification_keys
        if not 0 <= t < n <= MAX_AUTHORITIES:
            raise VerificationError("sharing", f"n = {n}, t = {t}: need 0 <= t < n <= {MAX_AUTHORITIES}")
        if self.key.is_identity():
            raise VerificationError("sharing", "the identity is no key")
        base = tuple(range(1, t + 2))
        for at, expected in ((0, generator_h()), *((i, keys[i - 1]) for i in range(t + 2, n + 1))):
            weights = lagrange(base, at, GROUP_ORDER)
            if multiply_sum(keys[: t + 1], [weights[i] for i in base]) != expected:
                raise VerificationError("sharing", "the verification keys do not share this key")

    def encode(self) -> bytes:
        """Canonical bytes: label, A, t, n, V_1 .. V_n."""
        writer = Writer().var(LABEL_AUDITOR_SHARING).fixed(self.key.encode(), POINT_BYTES)
        writer.uint(self.threshold, 1).uint(len(self.verification_keys), 1)
        for key in self.verification_keys:
            writer.fixed(key.encode(), POINT_BYTES)
        return bytes(writer)

    @staticmethod
    def decode(data: bytes) -> Sharing:
        """The sharing of `encode`, not yet checked. Raises DecodeError."""
        reader = Reader(data)
        read_label(reader, LABEL_AUDITOR_SHARING)
        key = Point.decode(reader.fixed("key", POINT_BYTES), "key")
        threshold = reader.uint("threshold", 1, MAX_AUTHORITIES - 1)
        count = reader.uint("verification_keys", 1, MAX_AUTHORITIES)
        keys = tuple(_read_point(reader, f"verification_keys[{i}]") for i in range(count))
        reader.end("sharing")
        return Sharing(key, threshold, keys)


@dataclass(frozen=True, slots=True)
class Share:
    """Authority `index`'s share (1 .. n) of 1/a, for the key A. Secret."""

    key: Point
    index: int
    value: Scalar = field(repr=False)

    def check(self, sharing: Sharing) -> None:
        """Raises VerificationError unless this is the share the sharing speaks of."""
        if self.key != sharing.key or not 1 <= self.index <= len(sharing.verification_keys):
            raise VerificationError("share", "it belongs to another sharing")
        if self.key * self.value != sharing.verification_keys[self.index - 1]:
            raise VerificationError("share", f"it is not the one authority {self.index}'s public key is of")

    def encode(self) -> bytes:
        """label, A, index, value. In the clear: whoever stores it encrypts it."""
        writer = Writer().var(LABEL_AUDITOR_SHARE).fixed(self.key.encode(), POINT_BYTES)
        return bytes(writer.uint(self.index, 1).uint(self.value, SCALAR_BYTES))

    @staticmethod
    def decode(data: bytes) -> Share:
        """The share of `encode`. Raises DecodeError."""
        reader = Reader(data)
        read_label(reader, LABEL_AUDITOR_SHARE)
        key = Point.decode(reader.fixed("key", POINT_BYTES), "key")
        index = _read_index(reader)
        value = reader.uint("value", SCALAR_BYTES, GROUP_ORDER - 1)
        reader.end("share")
        return Share(key, index, value)


@dataclass(frozen=True, slots=True)
class Partial:
    """Authority `index`'s answer: P_j for every handle of the request, in its order, with proof.

    Confidential, for whoever asked: it is sent sealed.
    """

    index: int
    points: tuple[Point, ...] = field(repr=False)
    key_mask: Point  # S_key
    handle_mask: Point  # S_handles
    response: Scalar  # z

    def encode(self) -> bytes:
        """Canonical bytes: label, index, N, P_1 .. P_N, S_key, S_handles, z."""
        writer = Writer().var(LABEL_AUDITOR_PARTIAL).uint(self.index, 1).uint(len(self.points), 4)
        for point in (*self.points, self.key_mask, self.handle_mask):
            writer.fixed(point.encode(), POINT_BYTES)
        return bytes(writer.uint(self.response, SCALAR_BYTES))

    @staticmethod
    def decode(data: bytes) -> Partial:
        """The answer of `encode`; whether it holds is for `combine`. Raises DecodeError."""
        reader = Reader(data)
        read_label(reader, LABEL_AUDITOR_PARTIAL)
        index = _read_index(reader)
        count = reader.uint("points", 4, MAX_HANDLES)
        points = tuple(_read_point(reader, f"points[{j}]") for j in range(count))
        masks = _read_point(reader, "key_mask"), _read_point(reader, "handle_mask")
        response = reader.uint("response", SCALAR_BYTES, GROUP_ORDER - 1)
        reader.end("partial")
        return Partial(index, points, *masks, response)


@dataclass(frozen=True, slots=True)
class Combined:
    """bD_j for every handle of the request, confidential, and the authorities whose answers were false."""

    points: tuple[Point, ...] = field(repr=False)
    false: tuple[int, ...]


def deal(secret: SecretKey, members: int, threshold: int) -> tuple[Sharing, tuple[Share, ...]]:
    """The dealer's step: shares of 1/a for n authorities, t of which learn nothing. Forget `secret` after it.

    Raises ParameterError unless 0 <= t < n <= 16.
    """
    if members > MAX_AUTHORITIES:
        raise ParameterError(f"{members} authorities; the limit is {MAX_AUTHORITIES}")
    key, inverse = secret.public, pow(secret.value, -1, GROUP_ORDER)
    values = share(inverse, members, threshold, prime=GROUP_ORDER)
    sharing = Sharing(key, threshold, tuple(key * value for value in values.values()))
    return sharing, tuple(Share(key, i, value) for i, value in values.items())


def partial(holder: Share, handles: Sequence[Point], context: bytes) -> Partial:
    """The holder's answer to a request: handles in its order, `context` whatever names the request.

    Raises ParameterError for no handles or more than 8,192.
    """
    points = tuple(handle * holder.value for handle in handles)
    transcript, powers = _open(holder.key, holder.key * holder.value, handles, points, context)
    t = random_scalar()
    key_mask, handle_mask = holder.key * t, multiply_sum(handles, powers) * t
    e = _challenge(transcript, key_mask, handle_mask)
    return Partial(holder.index, points, key_mask, handle_mask, (t + e * holder.value) % GROUP_ORDER)


def check_partial(sharing: Sharing, handles: Sequence[Point], context: bytes, answer: Partial) -> None:
    """Raises VerificationError unless the answer is that authority's to exactly this request."""
    if not 1 <= answer.index <= len(sharing.verification_keys) or len(answer.points) != len(handles):
        raise VerificationError("partial", "no such authority, or an answer to another number of handles")
    own = sharing.verification_keys[answer.index - 1]
    transcript, powers = _open(sharing.key, own, handles, answer.points, context)
    e = _challenge(transcript, answer.key_mask, answer.handle_mask)
    if sharing.key * answer.response != answer.key_mask + own * e:
        raise VerificationError("partial", "not the share of this authority, or of another request")
    composite = multiply_sum(answer.points, powers)
    if multiply_sum(handles, powers) * answer.response != answer.handle_mask + composite * e:
        raise VerificationError("partial", "not every handle was opened with the share")


def combine(
    sharing: Sharing, handles: Sequence[Point], context: bytes, answers: Iterable[Partial]
) -> Combined:
    """What t+1 true answers open: bD_j in the order of the handles. False answers are named, not used.

    Who really sent an answer is for the caller to know. Raises VerificationError if fewer than t+1 are true,
    or if the sharing is not of its key; ParameterError for no handles or more than 8,192.
    """
    sharing.check()
    true: dict[int, Partial] = {}
    false: set[int] = set()
    for answer in answers:
        try:
            check_partial(sharing, handles, context, answer)
        except VerificationError:
            false.add(answer.index)
        else:
            true[answer.index] = answer
    needed = sharing.threshold + 1
    if len(true) < needed:
        named = f"; false: authority {', '.join(map(str, sorted(false)))}" if false else ""
        raise VerificationError("partials", f"{len(true)}/{needed} true answers{named}")
    chosen = tuple(sorted(true))[:needed]
    weights = list(lagrange(chosen, 0, GROUP_ORDER).values())
    columns = zip(*(true[i].points for i in chosen), strict=True)
    return Combined(tuple(multiply_sum(column, weights) for column in columns), tuple(sorted(false)))


def _open(
    key: Point, own: Point, handles: Sequence[Point], points: Sequence[Point], context: bytes
) -> tuple[Transcript, list[Scalar]]:
    """Move 0: the transcript so far and the powers of y. Raises ParameterError as `partial`."""
    if not 1 <= len(handles) <= MAX_HANDLES:
        raise ParameterError(f"{len(handles)} handles; allowed are 1 to {MAX_HANDLES}")
    transcript = Transcript(LABEL_AUDITOR_PARTIAL)
    transcript.absorb(b"context", context)
    transcript.absorb(b"key", key.encode())
    transcript.absorb(b"verification_key", own.encode())
    transcript.absorb_many(b"handles", [handle.encode() for handle in handles])
    transcript.absorb_many(b"points", [point.encode() for point in points])
    y = transcript.challenge(b"y", POWERS_CHALLENGE_BITS)
    powers = [1]
    for _ in handles[1:]:
        powers.append(powers[-1] * y % GROUP_ORDER)
    return transcript, powers


def _challenge(transcript: Transcript, key_mask: Point, handle_mask: Point) -> int:
    transcript.absorb(b"key_mask", key_mask.encode())
    transcript.absorb(b"handle_mask", handle_mask.encode())
    return transcript.challenge(b"e", CHALLENGE_BITS)


def _read_point(reader: Reader, name: str) -> Point:
    return Point.decode(reader.fixed(name, POINT_BYTES), name, identity_allowed=True)


def _read_index(reader: Reader) -> int:
    index = reader.uint("index", 1, MAX_AUTHORITIES)
    if not index:
        raise DecodeError("index", "zero; authorities are 1 to n")
    return index
