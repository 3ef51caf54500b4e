"""Errors by who must act. The command line prints one as a line, a blank line and a hint.

`OrderRefused`   the trader must send something else
`ConfigError`    the operator must change a setting or an argument
`PeerFault`      another party broke the protocol or is away
`RoundAborted`   nobody's input was wrong, but the round cannot finish
`ChainError`     the node or the contract did not do what was asked

No message ever carries a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_PEER: Final = 3
EXIT_OURS: Final = 4


def _one_line(text: str) -> str:
    """Control characters could forge further lines on a terminal or in a log, so none is kept."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


class DarkpoolError(Exception):
    """Root of every error this package raises on purpose.

    `message` says what is wrong, with its numbers; `hint` what to do about it, or nothing. Both are one line.
    """

    exit_code: ClassVar[int] = EXIT_OURS

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = _one_line(message)
        self.hint = _one_line(hint)
        super().__init__(self.message, self.hint)

    def __str__(self) -> str:
        return self.message

    def rendered(self) -> str:
        """What the command line prints: the error on one line and, if there is one, the hint below."""
        line = f"error: {self.message}"
        return f"{line}\n\nhint: {self.hint}" if self.hint else line


class OrderRefused(DarkpoolError):  # noqa: N818  # names the outcome, as the protocol does
    """An order, a request, or the file it came in, that is not accepted; nothing changed.

    `code` is a stable name of the reason for programs ("nonce-used"), `facts` what they need to act on it.
    """

    exit_code = EXIT_REFUSED

    def __init__(
        self,
        message: str,
        hint: str = "",
        code: str = "refused",
        facts: Mapping[str, str | int] | None = None,
    ) -> None:
        self.code = code
        self.facts = dict(facts or {})
        super().__init__(message, hint)


class Busy(OrderRefused):
    """Too much at once; the same may be sent again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int, code: str = "busy") -> None:
        super().__init__(message, f"send it again after {retry_after} s", code)
        self.retry_after = retry_after
        self.args = (self.message, retry_after, code)


class Unavailable(DarkpoolError):  # noqa: N818
    """A part this needs is away (`part`: database, chain, committee, venue if halted); nothing changed."""

    def __init__(self, message: str, part: str, hint: str = "send it again later") -> None:
        super().__init__(message, hint)
        self.part = part
        self.args = (self.message, part, self.hint)


class ConfigError(DarkpoolError):
    """A setting, argument or piece of text that cannot be meant."""

    exit_code = EXIT_USAGE


class PeerFault(DarkpoolError):  # noqa: N818
    """Another party sent what the protocol forbids, or nothing.

    `peer` names it, if known ("member 2"). The name is a finding of this process, no evidence for others.
    """

    exit_code = EXIT_PEER

    def __init__(self, message: str, hint: str = "", peer: str = "") -> None:
        self.peer = _one_line(peer)
        super().__init__(f"{self.peer}: {message}" if self.peer else message, hint)


class RoundAborted(DarkpoolError):  # noqa: N818
    """A round ended without a result; the message says whether its orders went back to the book."""

    exit_code = EXIT_PEER


class SettlementRefused(DarkpoolError):  # noqa: N818
    """A settlement that is malformed, does not balance or lacks signatures; the contract agrees."""

    exit_code = EXIT_REFUSED


class ChainError(DarkpoolError):
    """The node cannot be reached, or answered with something that was not asked for."""

    exit_code = EXIT_OURS


class ChainRefused(ChainError):  # noqa: N818
    """The contract reverted, and so changed nothing; `reason` is its own short string."""

    exit_code = EXIT_REFUSED

    def __init__(self, reason: str, hint: str = "") -> None:
        self.reason = _one_line(reason)
        super().__init__(self.reason, hint)
