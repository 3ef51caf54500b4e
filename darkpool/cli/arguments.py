"""Arguments of the trader's commands, read strictly: what cannot be meant is refused with a hint."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

NEGATIVE: dict[str, Any] = {"ignore_unknown_options": True}
"""Settings of a command that takes numbers: "-1" is an argument, refused with its reason, and no option."""

_SHOWN = 40


class SideName(StrEnum):
    """Sides."""

    BUY = "buy"
    SELL = "sell"


def word(text: str) -> str:
    """Any text but an option that there is none of, which NEGATIVE lets through. Raises ConfigError."""
    from darkpool.errors import ConfigError

    if text.startswith("--"):
        raise ConfigError(f"{text.partition('=')[0][:_SHOWN]}: no such option", "--help lists them")
    return text


def _side(text: str) -> SideName:
    from darkpool.errors import ConfigError

    if word(text) not in set(SideName):
        raise ConfigError(
            f"side: {text[:_SHOWN]!r} is neither buy nor sell", "for example `darkpool order submit buy 0.50`"
        )
    return SideName(text)


def decimal(name: str) -> Callable[[str], str]:
    """A reader of plain decimals, which leaves them as they are; it raises ConfigError by that name."""

    def checked(text: str) -> str:
        from darkpool.errors import ConfigError
        from darkpool.orderfile import decimal_units

        try:
            decimal_units(word(text))
        except ValueError as error:
            raise ConfigError(f"{name}: {text[:_SHOWN]!r} is no plain decimal", f"write {error}") from None
        return text

    return checked


def order_id(text: str) -> int:
    """The name of an order. Raises ConfigError."""
    from darkpool.errors import ConfigError
    from darkpool.jsonfields import MAX_UINT64

    if not (word(text).isascii() and text.isdigit() and len(text) <= len(str(MAX_UINT64))):
        raise ConfigError(
            f"order id: {text[:_SHOWN]!r} is none", "it is a number; `darkpool order status` lists them"
        )
    return int(text)


SideArgument = Annotated[SideName, typer.Argument(help="buy or sell.", parser=_side)]
QuantityArgument = Annotated[
    str, typer.Argument(help="Decimal of base tokens; 0 is a decoy.", parser=decimal("quantity"))
]
PriceArgument = Annotated[
    str | None,
    typer.Argument(
        help="Limit in quote tokens per base token; left out: any price of the grid.",
        parser=decimal("price"),
    ),
]
IdArgument = Annotated[
    int, typer.Argument(help="The order's id, as `order submit` named it.", parser=order_id)
]
OptionalId = Annotated[int | None, typer.Argument(help="One order; left out: all.", parser=order_id)]
TokenArgument = Annotated[str, typer.Argument(help="Symbol of the token.", parser=word)]
