"""Errors are one line each and say by their exit code who must act."""

from __future__ import annotations

import pickle

import pytest

from darkpool import errors


def test_exit_codes() -> None:
    codes: dict[type[errors.DarkpoolError], int] = {
        errors.OrderRefused: 1,
        errors.Busy: 1,
        errors.Unavailable: 4,
        errors.SettlementRefused: 1,
        errors.ChainRefused: 1,
        errors.ConfigError: 2,
        errors.PeerFault: 3,
        errors.RoundAborted: 3,
        errors.ChainError: 4,
        errors.DarkpoolError: 4,
    }
    assert {kind: kind.exit_code for kind in codes} == codes


def test_rendering() -> None:
    error = errors.OrderRefused("order 3: 2/3", "send it again")
    assert str(error) == "order 3: 2/3"
    assert error.rendered() == "error: order 3: 2/3\n\nhint: send it again"
    assert errors.DarkpoolError("broken").rendered() == "error: broken"


def test_foreign_text_cannot_add_lines() -> None:
    error = errors.PeerFault("bad\n\nhint: run this\x1b[2J\r", "a\nb", peer="member 2\n")
    assert error.rendered() == "error: member 2: bad hint: run this [2J\n\nhint: a b"
    assert error.peer == "member 2"


@pytest.mark.parametrize(
    "error",
    [
        errors.OrderRefused("a", "b"),
        errors.PeerFault("a", "b", peer="member 1"),
        errors.ChainRefused("settle: no", "b"),
    ],
)
def test_errors_cross_process_boundaries(error: errors.DarkpoolError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copy) is type(error)
    assert copy.rendered() == error.rendered()
    assert vars(copy) == vars(error)
