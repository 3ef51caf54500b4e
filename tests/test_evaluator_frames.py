"""The evaluator's child program and frames: whatever is malformed ends the child; nothing is printed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from commitments.encoding import Writer
from commitments.errors import DecodeError, ParameterError
from commitments.params import FIELD_PRIME
from darkpool.committee import evaluator_frames as frames
from darkpool.committee.evaluator_frames import Kind, Program, Splitter
from darkpool.committee.evaluator_link import FieldCodec

START = bytes(frames.Start(1, 3, 1, (1, 2, 3)))


def child(data: bytes) -> subprocess.CompletedProcess[bytes]:
    """The child program itself, given these bytes and then the end of its input."""
    return subprocess.run(
        [sys.executable, "-m", "darkpool.committee.evaluator_child"],
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "DecodeError"),
        (b"\x00\x00\x00\x00", "DecodeError"),
        (b"\xff\xff\xff\xff", "DecodeError"),
        (b"\x00\x00\x00\x01\x63", "DecodeError"),
        (START[:-1], "DecodeError"),
        (frames.signal(Kind.STOP), "DecodeError"),
        (START + START, "DecodeError"),
        (b"\x00\x00\x00\x08\x01\x01\x04\x01\x03\x01\x03\x02", "ParameterError"),  # players 1, 3, 2
        (START + bytes(frames.Peer(1, b"x")), "DecodeError"),
        (bytes(frames.Start(1, 4, 1, (1, 2, 3))) + bytes(frames.Peer(4, b"x")), "DecodeError"),
        (START + bytes(frames.Peer(2, b"rubbish")), "VerificationError"),
        (START + bytes(frames.Run(1, Program.NONZERO, (1,), (1,))), "DecodeError"),
        (START, "EOFError"),
    ],
)
def test_a_malformed_or_missing_frame_ends_the_child(data: bytes, reason: str) -> None:
    done = child(data)
    assert done.returncode == 1
    assert done.stderr == b""
    *_, (kind, body) = Splitter().feed(done.stdout)
    assert kind is Kind.FAILED
    assert frames.Failed.parse(body).reason == reason


def test_a_stopped_child_ends_with_zero_and_prints_nothing_else() -> None:
    done = child(START + frames.signal(Kind.STOP))
    assert (done.returncode, done.stderr) == (0, b"")
    assert {kind for kind, _ in Splitter().feed(done.stdout)} == {Kind.PEER}


RUN = frames.Run(7, Program.AT_LEAST, (1, 2**64 - 1), (FIELD_PRIME - 1, 0))


def test_frames_survive_the_pipe_cut_anywhere() -> None:
    start, peer = frames.Start(2, 4, 1, (1, 2, 4)), frames.Peer(2, b"abc")
    result, failed = frames.Result(7, 99, (5,)), frames.Failed(7, "EOFError")
    sent = bytes(start) + bytes(RUN) + bytes(peer) + bytes(result) + bytes(failed) + frames.signal(Kind.READY)
    splitter = Splitter()
    got: dict[Kind, bytes] = {}
    for i in range(len(sent)):
        got |= dict(splitter.feed(sent[i : i + 1]))
    assert list(got) == [Kind.START, Kind.RUN, Kind.PEER, Kind.RESULT, Kind.FAILED, Kind.READY]
    assert frames.Start.parse(got[Kind.START]) == start
    assert frames.Run.parse(got[Kind.RUN]) == RUN
    assert frames.Peer.parse(got[Kind.PEER]) == peer
    assert frames.Result.parse(got[Kind.RESULT]) == result
    assert frames.Failed.parse(got[Kind.FAILED]) == failed


def test_no_frame_shows_its_content() -> None:
    assert str(FIELD_PRIME - 1) not in repr(RUN)
    assert "abc" not in repr(frames.Peer(2, b"abc"))
    assert "31337" not in repr(frames.Result(7, 99, (31337,)))


def damaged() -> Iterator[tuple[Kind, bytes]]:
    for frame in (START, bytes(RUN), bytes(frames.Result(7, 99, (5,))), bytes(frames.Failed(7, "EOFError"))):
        ((kind, body),) = Splitter().feed(frame)
        yield kind, body + b"\x00"
        yield from ((kind, body[:cut]) for cut in range(len(body)))
    run = bytes(RUN)[5:]
    yield Kind.START, START[5:8] + b"\x41" + bytes(range(1, 66))  # too many players
    yield Kind.RUN, run[:4] + b"\x09" + run[5:]  # an unknown program
    yield Kind.RUN, run[:5] + b"\xff" + run[6:]  # too many public integers
    yield Kind.RUN, run[:-16] + FIELD_PRIME.to_bytes(16, "big")  # a share that is not reduced
    yield Kind.FAILED, bytes(frames.Failed(7, "a\nb"))[5:]
    yield Kind.PEER, b"\x02"


def test_damaged_frames_are_refused() -> None:
    parsers: dict[Kind, Callable[[bytes], object]] = {
        Kind.START: frames.Start.parse,
        Kind.RUN: frames.Run.parse,
        Kind.RESULT: frames.Result.parse,
        Kind.FAILED: frames.Failed.parse,
        Kind.PEER: frames.Peer.parse,
    }
    for kind, body in damaged():
        with pytest.raises(DecodeError):
            parsers[kind](body)


@pytest.mark.parametrize(
    "index, n, t, players, problem",
    [
        (1, 3, 0, (1, 2, 3), "t >= 1"),
        (1, 2, 1, (1, 2), r"2t\+1 <= n"),
        (1, 4, 2, (1, 2, 3, 4), r"2t\+1 <= n"),
        (1, 65, 1, (1, 2, 3), "<= 64"),
        (1, 17, 1, (1, 2, 3), "more than 16 keys"),
        (1, 20, 2, (1, 2, 3, 4, 5), "more than 16 keys"),
        (4, 4, 1, (1, 2, 3), "member 4 is not among"),
        (0, 4, 1, (1, 2, 3), "member 0 is not among"),
        (1, 4, 1, (1, 2), "3 or more"),
        (1, 4, 1, (), "3 or more"),
        (1, 5, 2, (1, 2, 3, 4), "5 or more"),
        (1, 4, 1, (1, 2, 2), "distinct"),
        (1, 4, 1, (2, 1, 3), "ascending"),
        (1, 4, 1, (1, 2, 5), "1 to 4"),
        (1, 4, 1, (0, 1, 2), "1 to 4"),
    ],
)
def test_settings_that_keep_nothing_secret_are_refused(
    index: int, n: int, t: int, players: tuple[int, ...], problem: str
) -> None:
    body = Writer().uint(index, 1).uint(n, 1).uint(t, 1).uint(len(players), 1)
    for player in players:
        body.uint(player, 1)
    with pytest.raises(ParameterError, match=problem):
        frames.Start.parse(bytes(body))
    with pytest.raises(ParameterError, match=problem):
        frames.Start(index, n, t, players)


@pytest.mark.parametrize(
    "data", [b"", b"x" * 15, b"\xff" * 16, FIELD_PRIME.to_bytes(16, "little"), b"cos\nsystem\n(S'id'\ntR."]
)
def test_what_mpyc_reads_from_peers_is_field_elements_or_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        FieldCodec.loads(data)


def test_the_field_codec_is_of_fixed_width() -> None:
    for values in ([0, 1], [FIELD_PRIME - 1, 0]):
        data = FieldCodec.dumps(np.array(values, dtype=object))
        assert len(data) == 32
        assert list(FieldCodec.loads(data)) == values
