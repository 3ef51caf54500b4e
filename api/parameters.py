"""Parameters of path and query, and the fields of answers: bounded, in one form each.

Bytes are "0x" and lower-case hexadecimal digits. FastAPI names the parameter when one is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from fastapi import Path, Query
from pydantic import BeforeValidator, Field, WithJsonSchema

from commitments.errors import DecodeError
from darkpool.errors import ConfigError
from darkpool.jsonfields import MAX_UINT64, read_hex
from darkpool.store.records import OrderState
from darkpool.types import Address, parse_address

MAX_PAGE: Final = 500
DEFAULT_PAGE: Final = 100

_ADDRESS_SCHEMA: Final = {
    "type": "string",
    "pattern": "^0x[0-9a-fA-F]{40}$",
    "description": "0x and 40 hexadecimal digits; mixed case carries the checksum of EIP-55",
    "examples": ["0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"],
}


def hex_schema(width: int) -> dict[str, Any]:
    """The JSON schema of `width` bytes."""
    return {
        "type": "string",
        "pattern": f"^0x[0-9a-f]{{{2 * width}}}$",
        "minLength": 2 + 2 * width,
        "maxLength": 2 + 2 * width,
        "description": f"{width} bytes: 0x and lower-case hexadecimal digits",
        "examples": ["0x" + "5a" * width],
    }


def _address(value: object) -> Address:
    try:
        return parse_address(value if isinstance(value, str) else "")
    except ConfigError as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


def _hash(value: object) -> bytes:
    try:
        return read_hex(value, "value", 32)
    except DecodeError as error:
        raise ValueError(error.problem) from None


def _digits(value: object) -> object:
    """Plain digits only: no sign, space, underscore or point, which int() would take."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 20):  # noqa: PLR2004
        raise ValueError("not an unsigned decimal integer")
    return value


Hash: TypeAlias = Annotated[bytes, BeforeValidator(_hash), WithJsonSchema(hex_schema(32))]
Account: TypeAlias = Annotated[Address, BeforeValidator(_address), WithJsonSchema(_ADDRESS_SCHEMA)]
Number: TypeAlias = Annotated[int, BeforeValidator(_digits), Field(ge=0, le=MAX_UINT64)]

MarketPath: TypeAlias = Annotated[Hash, Path(description="id of the market")]
HashPath: TypeAlias = Annotated[Hash, Path()]
AccountPath: TypeAlias = Annotated[Account, Path(description="address of the account")]
NumberPath: TypeAlias = Annotated[Number, Path()]
LimitQuery: TypeAlias = Annotated[
    Annotated[int, BeforeValidator(_digits), Field(ge=1, le=MAX_PAGE)],
    Query(description="most items to answer with"),
]
AfterQuery: TypeAlias = Annotated[
    Number | None, Query(description="`next` of the page before; items after it")
]
BeforeQuery: TypeAlias = Annotated[
    Number | None, Query(description="`next` of the page before; items older than it")
]
MarketQuery: TypeAlias = Annotated[Hash | None, Query(description="id of a market")]
StateQuery: TypeAlias = Annotated[
    list[OrderState] | None, Query(description="states of orders", max_length=len(OrderState))
]


def _text(schema: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema(schema)


HashText: TypeAlias = Annotated[str, _text(hex_schema(32))]
AddressText: TypeAlias = Annotated[str, _text(_ADDRESS_SCHEMA)]
HexText: TypeAlias = Annotated[str, _text({"type": "string", "pattern": "^0x(?:[0-9a-f]{2})*$"})]
Uint: TypeAlias = Annotated[int, Field(ge=0, le=MAX_UINT64)]
