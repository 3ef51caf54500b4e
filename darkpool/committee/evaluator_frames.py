"""The frames between a member and its evaluator child, over the child's stdin and stdout.

A frame is a 32-bit big-endian length, then one byte of kind, then the body. Both ends are ours, yet the
bodies of `peer` frames come from other members, so everything is bounded and strictly parsed.

    member -> child   start{index, n, t, players}  peer{from, bytes}  run{request, program, public, shares}
                      stop{}
    child -> member   ready{}  peer{to, bytes}  result{request, peak memory, shares}  failed{request, reason}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from math import comb
from typing import Final

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError, ParameterError
from commitments.params import FIELD_PRIME, MAX_MASK_SETS
from commitments.shamir import MAX_MEMBERS, SHARE_BYTES

MAX_FRAME_BYTES: Final = 8 << 20  # the largest MPyC message of MAX_VECTOR comparisons is about 3.4 MB
MAX_VECTOR: Final = 4096  # secret shares in one evaluation
MAX_PUBLIC: Final = 8  # public integers of one evaluation
MAX_REASON_BYTES: Final = 64
_LENGTH_BYTES: Final = 4


class Kind(IntEnum):
    """What a frame is."""

    START = 1
    PEER = 2
    RUN = 3
    STOP = 4
    READY = 5
    RESULT = 6
    FAILED = 7


_KINDS: Final = {int(kind): kind for kind in Kind}


class Program(IntEnum):
    """What can be evaluated; clearing.py says what each computes."""

    AUCTION = 1
    AT_LEAST = 2
    NONZERO = 3


@dataclass(frozen=True, slots=True)
class Start:
    """Who the child is: member `index` of `n`, sharing with degree `t`, evaluating among `players`.

    Player i's shares are f(i), whoever else plays. Raises ParameterError unless t >= 1, n >= 2t+1, the number
    of mask keys is in bounds, and the players are 2t+1 or more members in ascending order, `index` being one.
    """

    index: int
    n: int
    t: int
    players: tuple[int, ...]

    def __post_init__(self) -> None:
        n, t, players = self.n, self.t, self.players
        if t < 1 or not 2 * t + 1 <= n <= MAX_MEMBERS:
            raise ParameterError(f"n = {n}, t = {t}: need t >= 1 and 2t+1 <= n <= {MAX_MEMBERS}")
        if comb(n, t) > MAX_MASK_SETS:
            raise ParameterError(f"n = {n}, t = {t} needs more than {MAX_MASK_SETS} keys")
        if list(players) != sorted(set(players)) or not all(1 <= i <= n for i in players):
            raise ParameterError(f"players {players}: name distinct members, 1 to {n}, in ascending order")
        if len(players) < 2 * t + 1:
            raise ParameterError(f"{len(players)} players {players}; t = {t} needs {2 * t + 1} or more")
        if self.index not in players:
            raise ParameterError(f"member {self.index} is not among the players {players}")

    @property
    def pid(self) -> int:
        """MPyC's number for this member: its place among the players."""
        return self.players.index(self.index)

    @property
    def peers(self) -> tuple[int, ...]:
        """The other players."""
        return tuple(i for i in self.players if i != self.index)

    def __bytes__(self) -> bytes:
        w = Writer().uint(self.index, 1).uint(self.n, 1).uint(self.t, 1).uint(len(self.players), 1)
        for player in self.players:
            w.uint(player, 1)
        return _frame(Kind.START, bytes(w))

    @classmethod
    def parse(cls, body: bytes) -> Start:
        """Raises DecodeError, or ParameterError as above."""
        r = Reader(body)
        index, n, t = r.uint("index", 1), r.uint("n", 1), r.uint("t", 1)
        players = tuple(r.uint("player", 1) for _ in range(r.uint("player count", 1, MAX_MEMBERS)))
        r.end("start")
        return cls(index, n, t, players)


@dataclass(frozen=True, slots=True)
class Peer:
    """MPC traffic to or from member `peer`."""

    peer: int
    data: bytes = field(repr=False)

    def __bytes__(self) -> bytes:
        return _frame(Kind.PEER, self.peer.to_bytes(1, "big") + self.data)

    @classmethod
    def parse(cls, body: bytes) -> Peer:
        """Raises DecodeError."""
        if len(body) <= 1:
            raise DecodeError("peer", "empty; a peer frame carries an index and at least one byte")
        return cls(body[0], body[1:])


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation: public integers below 2^64, and this member's shares in [0, p)."""

    request: int
    program: Program
    public: tuple[int, ...]
    shares: tuple[int, ...] = field(repr=False)

    def __bytes__(self) -> bytes:
        w = Writer().uint(self.request, 4).uint(self.program, 1).uint(len(self.public), 1)
        for value in self.public:
            w.uint(value, 8)
        return _frame(Kind.RUN, bytes(w) + _shares(self.shares))

    @classmethod
    def parse(cls, body: bytes) -> Run:
        """Raises DecodeError."""
        r = Reader(body)
        request = r.uint("request", 4)
        code = r.uint("program", 1)
        if code not in set(Program):
            raise DecodeError("program", f"number {code} is unknown")
        public = tuple(r.uint("public", 8) for _ in range(r.uint("public count", 1, MAX_PUBLIC)))
        shares = _parse_shares(r)
        r.end("run")
        return cls(request, Program(code), public, shares)


@dataclass(frozen=True, slots=True)
class Result:
    """This member's shares of the outputs, and the child's peak memory so far in KiB."""

    request: int
    peak_kib: int
    shares: tuple[int, ...] = field(repr=False)

    def __bytes__(self) -> bytes:
        head = bytes(Writer().uint(self.request, 4).uint(self.peak_kib, 8))
        return _frame(Kind.RESULT, head + _shares(self.shares))

    @classmethod
    def parse(cls, body: bytes) -> Result:
        """Raises DecodeError."""
        r = Reader(body)
        result = cls(r.uint("request", 4), r.uint("peak memory", 8), _parse_shares(r))
        r.end("result")
        return result


@dataclass(frozen=True, slots=True)
class Failed:
    """Why the child ends, by the name of an exception class: never its text, which might quote a value.

    `peer` is whose bytes it could not take, 0 if it was nobody's.
    """

    request: int
    reason: str
    peer: int = 0

    def __bytes__(self) -> bytes:
        reason = self.reason.encode("ascii", "replace")[:MAX_REASON_BYTES]
        return _frame(Kind.FAILED, bytes(Writer().uint(self.request, 4).var(reason).uint(self.peer, 1)))

    @classmethod
    def parse(cls, body: bytes) -> Failed:
        """Raises DecodeError."""
        r = Reader(body)
        request, reason = r.uint("request", 4), r.var("reason", MAX_REASON_BYTES)
        peer = r.uint("peer", 1)
        r.end("failed")
        if not reason.isascii() or not reason.decode("ascii").isprintable():
            raise DecodeError("reason", "not printable ASCII")
        return cls(request, reason.decode("ascii"), peer)


def signal(kind: Kind) -> bytes:
    """A frame without a body: stop or ready."""
    return _frame(kind, b"")


class Splitter:
    """Cuts a byte stream into frames; holds at most one incomplete frame."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[Kind, bytes]]:
        """The frames that are now complete, in order.

        Raises DecodeError for a length of zero or above MAX_FRAME_BYTES, and for an unknown kind.
        """
        self._buffer += data
        frames = []
        at = 0
        while len(self._buffer) - at >= _LENGTH_BYTES:
            length = int.from_bytes(self._buffer[at : at + _LENGTH_BYTES], "big")
            if not 1 <= length <= MAX_FRAME_BYTES:
                raise DecodeError("frame length", f"{length} is outside 1 to {MAX_FRAME_BYTES}")
            end = at + _LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            kind = _KINDS.get(self._buffer[at + _LENGTH_BYTES])
            if kind is None:
                raise DecodeError("frame kind", "unknown")
            frames.append((kind, bytes(self._buffer[at + _LENGTH_BYTES + 1 : end])))
            at = end
        del self._buffer[:at]
        return frames


def _frame(kind: Kind, body: bytes) -> bytes:
    length = 1 + len(body)
    if length > MAX_FRAME_BYTES:
        raise ParameterError(f"a frame of {length} bytes is above the limit {MAX_FRAME_BYTES}")
    return length.to_bytes(_LENGTH_BYTES, "big") + bytes((kind,)) + body


def _shares(shares: tuple[int, ...]) -> bytes:
    w = Writer().uint(len(shares), 2)
    for value in shares:
        w.uint(value, SHARE_BYTES)
    return bytes(w)


def _parse_shares(r: Reader) -> tuple[int, ...]:
    count = r.uint("share count", 2, MAX_VECTOR)
    return tuple(r.uint("share", SHARE_BYTES, FIELD_PRIME - 1) for _ in range(count))
