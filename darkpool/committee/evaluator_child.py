"""The evaluator child: MPyC in a process of its own, spoken to over stdin and stdout only.

    python -m darkpool.committee.evaluator_child

MPyC keeps one runtime per process, hence the child. It opens no socket and reads no argument; its messages
to the other members' children travel in frames through its parent (evaluator_frames.py, evaluator_link.py).

Any malformed frame, refused setting or failed evaluation ends the process with a non-zero code. Nothing is
ever printed or logged: what a child knows are shares.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
from typing import Any, Final

from commitments.errors import DecodeError, ParameterError
from darkpool.committee import evaluator_frames as frames
from darkpool.committee.evaluator_frames import Kind
from darkpool.committee.evaluator_link import Link, mpyc_runtime

_READ_BYTES: Final = 1 << 16


class Child(asyncio.Protocol):
    """Frames in, frames out, one evaluation at a time. `ended` tells how it went."""

    def __init__(self, me: frames.Start, splitter: frames.Splitter, loop: asyncio.AbstractEventLoop) -> None:
        self.ended: asyncio.Future[None] = loop.create_future()
        self._me = me
        self._splitter = splitter
        self._loop = loop
        self._runtime = mpyc_runtime(me)
        self._out: asyncio.WriteTransport | None = None
        self._connected: asyncio.Future[None] = loop.create_future()
        self._links = {peer: Link(self._runtime, me, peer, self._send) for peer in me.peers}
        self._request = 0
        self._running: asyncio.Task[None] | None = None
        # MPyC's handler prints. A coroutine of MPyC's that fails reports here, then stops the loop.
        loop.set_exception_handler(self._unhandled)

    async def serve(self, stdin: int, stdout: int, early: list[tuple[Kind, bytes]]) -> None:
        """Connect, then evaluate until told to stop. Raises whatever ends the child otherwise."""
        self._out, _ = await self._loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(stdout, "wb", 0))
        # MPyC resolves this future in set_protocol, when the last link has greeted.
        self._runtime.parties[self._me.pid].protocol = self._connected
        self._connected.add_done_callback(lambda _: self._write(frames.signal(Kind.READY)))
        for link in self._links.values():
            link.open()
        for kind, body in early:
            self._dispatch(kind, body)
        await self._loop.connect_read_pipe(lambda: self, os.fdopen(stdin, "rb", 0))
        await self.ended

    def data_received(self, data: bytes) -> None:
        """Bytes from the parent."""
        try:
            for kind, body in self._splitter.feed(data):
                self._dispatch(kind, body)
        except Exception as error:  # noqa: BLE001  any failure whatever ends the child
            self.fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The parent is gone: so are we."""
        self.fail(exc or EOFError())

    def fail(self, error: BaseException, peer: int = 0) -> None:
        """End the child; the first error counts, and the parent is told its class, and whose bytes it was."""
        if not self.ended.done():
            self.ended.set_exception(error)
            # A half-written frame cannot be followed by another; the exit code has to do then.
            if self._out is not None and not self._out.get_write_buffer_size():
                self._write(bytes(frames.Failed(self._request, type(error).__name__, peer)))

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.fail(context.get("exception") or RuntimeError())

    def _dispatch(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.PEER:
            message = frames.Peer.parse(body)
            if message.peer not in self._links:
                raise DecodeError("peer", f"{message.peer} is not another player")
            try:
                self._links[message.peer].received(message.data)
            except Exception as error:  # noqa: BLE001  whatever it is, that peer's bytes ended the child
                self.fail(error, message.peer)
        elif kind is Kind.RUN:
            if self._running is not None or not self._connected.done():
                raise DecodeError("run", "before the child is ready, or while it evaluates")
            self._running = self._loop.create_task(self._evaluate(frames.Run.parse(body)))
        elif kind is Kind.STOP and not body:
            if not self.ended.done():
                self.ended.set_result(None)
        else:
            raise DecodeError("frame kind", f"{kind.name} is not for a running child")

    async def _evaluate(self, run: frames.Run) -> None:
        self._request = run.request
        try:
            result = bytes(await self._result(run))
        except Exception as error:  # noqa: BLE001  any failure whatever ends the child
            self.fail(error)
            return
        for link in self._links.values():
            link.evaluated()
        self._running = None
        self._write(result)

    async def _result(self, run: frames.Run) -> frames.Result:
        from darkpool.committee.clearing import PROGRAMS, Arithmetic

        if (len(self._runtime.parties), self._runtime.threshold) != (len(self._me.players), self._me.t):
            raise ParameterError("the runtime's players or threshold have changed")
        outputs = await PROGRAMS[run.program](Arithmetic(self._runtime), run.public, run.shares)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return frames.Result(run.request, peak, tuple(int(v) for v in outputs))

    def _send(self, peer: int, data: bytes) -> None:
        self._write(bytes(frames.Peer(peer, data)))

    def _write(self, frame: bytes) -> None:
        if self._out is not None:
            self._out.write(frame)


def main() -> int:
    """Run the child. Returns the exit code: 0 if told to stop, 1 otherwise."""
    stdin, stdout = _private_pipes()
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold shares
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        me, splitter, early = _first_frames(stdin)
        child = Child(me, splitter, loop)
    except Exception as error:  # noqa: BLE001  no traceback: nothing is printed
        with contextlib.suppress(OSError):
            os.write(stdout, bytes(frames.Failed(0, type(error).__name__)))
        return 1
    try:
        loop.run_until_complete(child.serve(stdin, stdout, early))
    except Exception as error:  # noqa: BLE001  as above
        child.fail(error)
        return 1
    return 0


def _private_pipes() -> tuple[int, int]:
    """Our own copies of stdin and stdout; the standard ones, and stderr, lead nowhere from now on."""
    stdin, stdout = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    return stdin, stdout


def _first_frames(stdin: int) -> tuple[frames.Start, frames.Splitter, list[tuple[Kind, bytes]]]:
    """The start frame, and whatever came with it."""
    splitter = frames.Splitter()
    while True:
        data = os.read(stdin, _READ_BYTES)
        if not data:
            raise DecodeError("start", "cut short")
        if received := splitter.feed(data):
            (kind, body), *early = received
            if kind is not Kind.START:
                raise DecodeError("start", f"the first frame is {kind.name}")
            return frames.Start.parse(body), splitter, early


if __name__ == "__main__":
    code = main()
    # Not sys.exit: MPyC leaves pending tasks whose destructors complain, and there is nothing to clean up.
    sys.stdout.flush()
    os._exit(code)
