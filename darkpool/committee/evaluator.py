"""A member's MPC evaluator: the parent's side of a kept-alive MPyC child.

The child (evaluator_child.py) holds no key and opens no connection; its owner carries its traffic to the
other members. Every player must ask for the same evaluations in the same order, because MPyC labels messages
by position. An evaluator that failed, timed out or was cancelled is dead: its owner starts a new one together
with the other players, under a new generation number of the owner's.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from commitments.errors import DecodeError, ParameterError
from commitments.params import FIELD_PRIME
from darkpool.committee import evaluator_frames as frames
from darkpool.committee.evaluator_frames import MAX_VECTOR, Kind, Program
from darkpool.errors import DarkpoolError

STOP_SECONDS: Final = 2.0
MAX_MESSAGE_BYTES: Final = frames.MAX_FRAME_BYTES - 2  # of one `send`, one `feed`
MAX_QUEUED_BYTES: Final = 128 << 20  # towards a child that does not read
_ROOT: Final = Path(__file__).resolve().parents[2]
_MODULE: Final = "darkpool.committee.evaluator_child"
_PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "SYSTEMROOT")


class EvaluatorFailed(DarkpoolError):  # noqa: N818  named like its siblings in `darkpool.errors`
    """The child died, timed out or was refused: no result, and the evaluator is dead.

    `peer`: the member whose bytes or lost link ended it, as far as that is known.
    """

    def __init__(self, message: str, peer: int | None = None) -> None:
        super().__init__(message, "the players must start new evaluators together")
        self.peer = peer


class Evaluator:
    """MPC evaluations of member `index` of `n`, threshold `t`, among the players `members`: all n if None.

    Every member's shares are points at its own index, whoever plays. Raises ParameterError unless `members`
    are 2t+1 or more in ascending order, `index` being one.

    `send(peer, data)` is called in the event loop's thread with bytes for member `peer`'s `feed`; the channel
    must keep order, lose nothing, and authenticate the sender. One message is at most MAX_MESSAGE_BYTES.
    """

    def __init__(
        self,
        *,
        index: int,
        n: int,
        t: int,
        send: Callable[[int, bytes], None],
        members: tuple[int, ...] | None = None,
    ) -> None:
        self._me = frames.Start(index, n, t, tuple(range(1, n + 1)) if members is None else members)
        self._send = send
        self._splitter = frames.Splitter()
        self._lock = asyncio.Lock()
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None
        self._ready: asyncio.Future[None] | None = None
        self._pending: asyncio.Future[tuple[int, ...]] | None = None
        self._exited = asyncio.Event()
        self._heard: set[int] = set()
        self._request = 0
        self._failure: str | None = None
        self._failed_by: int | None = None
        self._closing = False
        self._peak_kib = 0

    @property
    def members(self) -> tuple[int, ...]:
        """The players, this member too."""
        return self._me.players

    @property
    def alive(self) -> bool:
        """Whether evaluations can be asked for."""
        return self._stdin is not None and self._failure is None and not self._closing

    @property
    def peak_memory_bytes(self) -> int:
        """Peak resident memory of the child, as of its last result."""
        return self._peak_kib * 1024

    @property
    def unheard(self) -> tuple[int, ...]:
        """The other players that have not sent anything yet."""
        return tuple(p for p in self._me.peers if p not in self._heard)

    @property
    def failed_by(self) -> int | None:
        """The member whose bytes or lost link ended it, if it is dead and that is known."""
        return self._failed_by

    async def start(self, timeout: float) -> None:  # noqa: ASYNC109  the child must die with the wait
        """Start the child and wait until it is connected to all other players' children.

        Raises EvaluatorFailed after `timeout` seconds, or if the child refuses MPyC or a peer's hello.
        """
        if self._transport is not None or self._failure is not None:
            reason = self._failure or "an evaluator starts once; make a new one"
            raise EvaluatorFailed(reason, self._failed_by)
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._spawn(loop)
                await self._ready
        except BaseException as error:
            self._fail(_reason(error, f"not ready within {timeout} s"))
            if isinstance(error, TimeoutError):
                raise EvaluatorFailed(str(self._failure)) from None
            raise

    async def _spawn(self, loop: asyncio.AbstractEventLoop) -> None:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        # One thread: the arrays hold Python integers, so numpy's pools would only cost memory.
        environment |= {"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        transport, _ = await loop.subprocess_exec(
            lambda: _Pipes(self),
            *(sys.executable, "-P", "-W", "ignore", "-m", _MODULE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
        )
        self._transport = transport
        self._stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
        self._write(bytes(self._me))
        for frame in self._early:
            self._write(frame)
        self._early.clear()

    def feed(self, peer: int, data: bytes) -> None:
        """MPC bytes from member `peer`, as its `send` gave them, in order.

        They may come before `start`. Dropped if the child is dead, and if `peer` does not play: a member left
        out must not disturb. Raises ParameterError if `peer` is no other member; a player's message that is
        empty or too long fails the evaluator.
        """
        if peer == self._me.index or not 1 <= peer <= self._me.n:
            raise ParameterError(f"member {peer} is not a peer of member {self._me.index} among {self._me.n}")
        if peer not in self._me.players or self._failure is not None or self._closing:
            return
        self._heard.add(peer)
        if not 0 < len(data) <= MAX_MESSAGE_BYTES:
            self._fail(f"member {peer} sent {len(data)} bytes; a message has 1 to {MAX_MESSAGE_BYTES}", peer)
            return
        frame = bytes(frames.Peer(peer, data))
        if self._stdin is not None:
            self._write(frame)
            return
        self._early_bytes += len(frame)
        if self._early_bytes > MAX_QUEUED_BYTES:
            self._fail(f"more than {MAX_QUEUED_BYTES} bytes from peers before the start", peer)
            return
        self._early.append(frame)

    async def evaluate(
        self,
        program: str,
        public: Sequence[int],
        shares: Sequence[int],
        timeout: float,  # noqa: ASYNC109  the child must die with the wait
    ) -> list[int]:
        """This member's shares of the program's outputs; `clearing.py` gives programs and their inputs.

        `program` is "auction", "at_least" or "nonzero". Evaluations queue; `timeout` seconds count from when
        this one begins. Raises ParameterError for an unknown program or oversized input, EvaluatorFailed for
        everything that kills the child; cancelling kills it too.
        """
        if program.upper() not in Program.__members__:
            raise ParameterError(f"program {program!r} is unknown; choose one of {', '.join(_names())}")
        if len(shares) > MAX_VECTOR or len(public) > frames.MAX_PUBLIC:
            raise ParameterError(f"at most {MAX_VECTOR} shares and {frames.MAX_PUBLIC} public integers")
        if not all(0 <= share < FIELD_PRIME for share in shares):
            raise ParameterError("a share is not reduced modulo p")
        async with self._lock:
            if not self.alive or self._ready is None or not self._ready.done():
                raise EvaluatorFailed(self._failure or "not running", self._failed_by)
            self._request = (self._request + 1) % (1 << 32)
            run = bytes(frames.Run(self._request, Program[program.upper()], tuple(public), tuple(shares)))
            self._pending = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout):
                    self._write(run)
                    return list(await self._pending)
            except BaseException as error:
                self._fail(_reason(error, f"no result of {program} within {timeout} s"))
                if isinstance(error, TimeoutError):
                    raise EvaluatorFailed(str(self._failure)) from None
                raise
            finally:
                self._pending = None

    def lost(self, peer: int) -> None:
        """The channel to `peer` is gone, and with it perhaps bytes: if it plays, no evaluation can end."""
        if peer in self._me.players and self._transport is not None and not self._closing:
            self._fail(f"the link to member {peer} was lost", peer)

    async def close(self) -> None:
        """Stop the child, kill it if it does not stop, and wait for its end. Can be called at any time."""
        if self._transport is None:
            self._closing = True
            return
        if self.alive:
            self._write(frames.signal(Kind.STOP))
        self._closing = True
        self._settle("closed")
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._exited.wait()
        except TimeoutError:
            self._kill()
            await self._exited.wait()
        self._transport.close()

    def _write(self, frame: bytes) -> None:
        if self._stdin is None or self._failure is not None:
            return
        self._stdin.write(frame)
        if self._stdin.get_write_buffer_size() > MAX_QUEUED_BYTES:
            self._fail(f"the child has left {MAX_QUEUED_BYTES} bytes unread")

    def received(self, data: bytes) -> None:
        """Bytes of the child's stdout."""
        try:
            for kind, body in self._splitter.feed(data):
                self._dispatch(kind, body)
        except DecodeError as error:
            self._fail(f"the child sent a malformed frame: {error}")

    def _dispatch(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.PEER:
            message = frames.Peer.parse(body)
            if self._failure is None and not self._closing:
                try:
                    self._send(message.peer, message.data)
                except Exception as error:  # noqa: BLE001  the owner's, whatever it is: the message is lost
                    self._fail(f"sending to member {message.peer} raised {type(error).__name__}")
        elif kind is Kind.RESULT:
            result = frames.Result.parse(body)
            if self._pending is None or result.request != self._request:
                raise DecodeError("request", f"{result.request} was not asked for")
            self._peak_kib = result.peak_kib
            if not self._pending.done():
                self._pending.set_result(result.shares)
        elif kind is Kind.FAILED:
            failed = frames.Failed.parse(body)
            peer = failed.peer if failed.peer in self._me.peers else None
            whose = "" if peer is None else f" at bytes of member {peer}"
            self._fail(f"the child gave up: {failed.reason}{whose}", peer)
        elif kind is Kind.READY and self._ready is not None:
            if not self._ready.done():
                self._ready.set_result(None)
        else:
            raise DecodeError("frame kind", f"{kind.name} is not for the parent")

    def exited(self) -> None:
        """The child has ended."""
        self._exited.set()
        if not self._closing:
            code = self._transport.get_returncode() if self._transport is not None else None
            self._fail(f"the child exited with code {code}")

    def _fail(self, reason: str, peer: int | None = None) -> None:
        """First reason counts: end what waits, kill the child. `peer`: who caused it."""
        if self._failure is None:
            self._failure = f"evaluator of member {self._me.index}: {reason}"
            self._failed_by = peer
        self._early.clear()
        self._settle(self._failure)
        self._kill()

    def _settle(self, reason: str) -> None:
        for waiting in (self._ready, self._pending):
            if waiting is not None and not waiting.done():
                waiting.set_exception(EvaluatorFailed(reason, self._failed_by))
                waiting.exception()  # seen: whoever waits still gets it, nobody need

    def _kill(self) -> None:
        if self._transport is not None and self._transport.get_returncode() is None:
            self._transport.kill()


class _Pipes(asyncio.SubprocessProtocol):
    """Hands the child's output and end to its evaluator."""

    def __init__(self, owner: Evaluator) -> None:
        self._owner = owner

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self._owner.received(data)

    def process_exited(self) -> None:
        self._owner.exited()


def _names() -> list[str]:
    return [program.name.lower() for program in Program]


def _reason(error: BaseException, timed_out: str) -> str:
    if isinstance(error, TimeoutError):
        return timed_out
    return "cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__
