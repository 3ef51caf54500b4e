"""MPyC tamed: its runtime for one member, and its connections as bytes somebody else carries.

Left to itself MPyC takes its settings from the command line and the environment, listens on all interfaces,
believes whatever party number a peer claims, and unpickles what peers send, which lets any member run code in
another. Here the settings are set before the import, each link belongs to one authenticated member, and
pickle gives way to vectors of fixed-width field elements. Fixed widths also make the length of every message
independent of the values in it. evaluator_points.py gives shares their members' points.

Nothing imports MPyC before `mpyc_runtime` is called, once per process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from math import comb
from typing import Any, Final

from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.params import FIELD_PRIME, STATISTICAL_BITS
from commitments.shamir import SHARE_BYTES
from darkpool.committee.evaluator_frames import MAX_FRAME_BYTES, Start
from darkpool.committee.evaluator_points import adapt

HELLO: Final = b"dp-mpc\x02"  # name and version of what follows it
MAX_UNREAD_BYTES: Final = 64 << 20  # from one peer within one evaluation


class FieldCodec:
    """In pickle's place inside MPyC: vectors over GF(p), 16 bytes an element, little-endian.

    A peer's bytes become integers below p or an error, never objects. MPyC's other uses of pickle find
    nothing here and fail.
    """

    @staticmethod
    def dumps(values: Any) -> bytes:  # noqa: ANN401  a one-dimensional array of MPyC's
        """The encoding of a vector of integers in [0, p)."""
        return b"".join(int(v).to_bytes(SHARE_BYTES, "little") for v in values)

    @staticmethod
    def loads(data: bytes) -> Any:  # noqa: ANN401  as above
        """The vector. Raises DecodeError for a broken length or an element that is not reduced."""
        import numpy as np

        if not data or len(data) % SHARE_BYTES:
            raise DecodeError("peer message", f"{len(data)} bytes are not {SHARE_BYTES}-byte elements")
        starts = range(0, len(data), SHARE_BYTES)
        values = [int.from_bytes(data[i : i + SHARE_BYTES], "little") for i in starts]
        if max(values) >= FIELD_PRIME:
            raise DecodeError("peer message", "an element is not reduced modulo p")
        return np.array(values, dtype=object)


class Link:
    """The transport under MPyC's MessageExchanger for one peer.

    It opens with a hello: version, n, t, the players and the sender's index, then, from the lower index to
    the higher, the keys of MPyC's pseudo-random sharing. After it come MPyC's own messages. A peer is refused
    if its hello differs in anything but its index, so a child never computes with players it was not told.
    """

    def __init__(self, runtime: Any, me: Start, peer: int, send: Callable[[int, bytes], None]) -> None:  # noqa: ANN401
        from mpyc.asyncoro import MessageExchanger

        self._runtime = runtime
        self._me = me
        self._peer = peer
        self._pid = me.players.index(peer)
        self._send = send
        self._hello: bytes | None = b""
        self._unread = 0
        self._exchanger = MessageExchanger(runtime, self._pid)
        self._exchanger.transport = self

    def open(self) -> None:
        """Send our hello."""
        me, keys = self._me, b""
        if me.index < self._peer:
            keys = b"".join(self._runtime._prss_keys_to_peer(self._pid))  # noqa: SLF001
        self.write(self._head(me.index) + keys)

    def write(self, data: bytes) -> None:
        """Called by MPyC with one whole message."""
        self._send(self._peer, data)

    def received(self, data: bytes) -> None:
        """Bytes from the peer, cut anywhere.

        Raises DecodeError when a bound is broken, VerificationError for a hello that is not ours.
        """
        self._unread += len(data)
        if self._unread > MAX_UNREAD_BYTES:
            raise DecodeError("peer", f"more than {MAX_UNREAD_BYTES} bytes within one evaluation")
        if self._hello is not None:
            data = self._greet(self._hello + data)
        if data:
            self._exchanger.data_received(data)
            if len(self._exchanger.bytes) > MAX_FRAME_BYTES:
                raise DecodeError("peer message", f"longer than {MAX_FRAME_BYTES} bytes")

    def evaluated(self) -> None:
        """An evaluation has ended; the bound on unread bytes starts anew."""
        self._unread = 0

    def _greet(self, hello: bytes) -> bytes:
        me, pid, head = self._me, self._pid, self._head(self._peer)
        if hello[: len(head)] != head[: len(hello)]:
            raise VerificationError("hello", f"member {self._peer} has other software, players or threshold")
        keys = self._runtime._prss_keys_from_peer(pid) if self._peer < me.index else 0  # noqa: SLF001
        if len(hello) < len(head) + keys:
            self._hello = hello
            return b""
        if keys:
            self._runtime._prss_keys_from_peer(pid, hello[len(head) : len(head) + keys])  # noqa: SLF001
        self._hello = None
        self._runtime.set_protocol(pid, self._exchanger)
        return hello[len(head) + keys :]

    def _head(self, sender: int) -> bytes:
        me = self._me
        return HELLO + bytes((me.n, me.t, len(me.players), *me.players, sender))


def statistical_parameter(m: int, t: int) -> int:
    """MPyC's k such that its masks keep 60 bits: it splits 2^k among C(m, t) keys, rounding down."""
    return STATISTICAL_BITS + (comb(m, t) - 1).bit_length()


def mpyc_runtime(me: Start) -> Any:  # noqa: ANN401  MPyC has no types
    """MPyC's runtime for this member, without connections; needs a current event loop.

    Raises ParameterError or VerificationError if MPyC is not the one this was written for.
    """
    m = len(me.players)
    for name in [name for name in os.environ if name.startswith("MPYC_")]:
        del os.environ[name]
    settings = {"-M": m, "-I": me.pid, "-T": me.t, "-K": statistical_parameter(m, me.t), "-W": 0}
    sys.argv = ["evaluator", *(str(x) for pair in settings.items() for x in pair), "--no-log", "--no-uvloop"]
    import mpyc.runtime

    mpyc.runtime.pickle = FieldCodec
    runtime = mpyc.runtime.mpc
    if (runtime.pid, len(runtime.parties), runtime.threshold) != (me.pid, m, me.t):
        raise ParameterError("MPyC did not take the settings")
    adapt(runtime, mpyc.runtime.thresha, me)
    return runtime
