"""What nodes and contracts say when something fails, in the errors of this package."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, TypeVar

from darkpool.errors import ChainError, ChainRefused

T = TypeVar("T")

MAX_REASON: Final = 200
_ERROR_STRING: Final = bytes.fromhex("08c379a0")

# Nodes have no codes for these, only their own words: geth, reth, Nethermind, Besu, anvil.
_KNOWN: Final = ("already known", "already imported", "alreadyknown")
_STALE: Final = ("nonce too low", "nonce is too low", "nonce below current", "oldnonce")
_UNDERPRICED: Final = ("underpriced", "less than block base fee", "fee too low", "feetoolow")


class Posted(Enum):
    """What the node made of a signed transaction."""

    TAKEN = auto()
    """It has it, now or since before."""
    STALE = auto()
    """Its nonce is used already."""
    UNDERPRICED = auto()
    """It offers too little: for the next block, or to replace what waits under its nonce."""


class NodeRefused(ChainError):  # noqa: N818  # as its siblings in errors.py
    """The node is there and does not do what was asked, in its own words."""


def posted(error: NodeRefused) -> Posted:
    """What a refusal to take a transaction means. Raises the error itself if it is of another kind."""
    text = error.message.lower()
    for words, outcome in (
        (_KNOWN, Posted.TAKEN),
        (_STALE, Posted.STALE),
        (_UNDERPRICED, Posted.UNDERPRICED),
    ):
        if any(part in text for part in words):
            return outcome
    raise error


def asked(ask: Callable[[], T], where: str, *, embedded: bool) -> T:
    """The answer to a question to the node at `where`, or the errors of this package."""
    from web3.exceptions import ContractLogicError, TimeExhausted, Web3Exception

    reverts, failures = _foreign_errors(embedded=embedded)
    reverts += (ContractLogicError,)
    failures += (Web3Exception,)
    try:
        return ask()
    except reverts as error:
        raise ChainRefused(_reason(error)) from error
    except TimeExhausted as error:
        raise ChainError(
            "transaction: not mined in time", "it may still be; look before sending again"
        ) from error
    except OSError as error:  # requests derives its errors from it
        raise ChainError(
            f"chain: no answer from the node at {where} ({type(error).__name__})",
            "start it, or give the URL of one that answers",
        ) from error
    except failures as error:
        raise NodeRefused(f"node: {type(error).__name__}: {str(error)[:MAX_REASON]}") from error


def _foreign_errors(*, embedded: bool) -> tuple[tuple[type[Exception], ...], tuple[type[Exception], ...]]:
    """Reverts, and other failures, as the two kinds of chain raise them past web3."""
    if not embedded:
        # requests derives its errors from OSError; a body that is not JSON is a ValueError.
        return (), (ValueError,)
    from eth_tester.exceptions import TransactionFailed, ValidationError
    from eth_utils.exceptions import ValidationError as EvmValidationError

    return (TransactionFailed,), (ValidationError, EvmValidationError)


def _reason(error: Exception) -> str:
    """The contract's own string in a revert, at most `MAX_REASON` characters."""
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    data = getattr(error, "data", None)
    if isinstance(data, str) and data.startswith("0x"):
        try:
            raw = bytes.fromhex(data[2:])
            if raw.startswith(_ERROR_STRING):
                return str(decode(["string"], raw[4:])[0])[:MAX_REASON]
        except (ValueError, DecodingError):
            pass
    text = str(getattr(error, "message", None) or (error.args[0] if error.args else ""))
    text = text.removeprefix("execution reverted").removeprefix(":").strip()
    return text[:MAX_REASON] if text and text != "b''" else "the contract reverted without a reason"
