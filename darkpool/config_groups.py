"""The settings' groups: every setting once, with its default, its bounds and a line that says what it is."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from commitments.params import MAX_LEVELS, MAX_ORDERS_PER_ROUND
from darkpool.book import MAX_OPEN_PER_ACCOUNT
from darkpool.config_text import Text, whole
from darkpool.market import MAX_VOLUME, MIN_LEVELS
from darkpool.orderfile import MAX_DIGITS, decimal_units
from darkpool.settlement import MAX_MEMBERS
from darkpool.settlement_gas import MAX_SETTLEMENT_GAS
from darkpool.types import parse_address
from darkpool.vault import (
    DEFAULT_COMMITTEE_DELAY,
    DEFAULT_DELAY,
    DEFAULT_FINALITY,
    DEFAULT_SETTLE_WINDOW,
    MIN_WITHDRAW_DELAY,
)

MAX_DELAY: Final = 365 * 86_400
"""The vault's bound of its delays, in seconds."""

MAX_PLUGINS: Final = 16
_DAY: Final = 86_400
_MAX_URL: Final = 2048


def _url(text: str, *schemes: str) -> bool:
    parts = urlsplit(text)
    plain = text.isascii() and text.isprintable() and " " not in text and len(text) <= _MAX_URL
    return plain and parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0


def _database(text: str) -> bool:
    # Of SQLite only a path can be meant: a database in memory would forget acknowledged orders.
    on_disk = re.fullmatch(r"sqlite:///[^?#\0]{1,1024}", text) and not text.endswith(":memory:")
    return bool(on_disk) or _url(text, "postgresql")


Whole = Annotated[int, BeforeValidator(whole)]
Name = Annotated[
    str, Text("1 to 64 of A-Z a-z 0-9 . _ -", lambda t: re.fullmatch(r"[A-Za-z0-9._-]{1,64}", t))
]
Symbol = Annotated[str, Text("1 to 11 of A-Z a-z 0-9 .", lambda t: re.fullmatch(r"[A-Za-z0-9.]{1,11}", t))]
Title = Annotated[str, Text("1 to 64 printable ASCII characters", lambda t: re.fullmatch(r"[ -~]{1,64}", t))]
Host = Annotated[str, Text("an address or a host name", lambda t: re.fullmatch(r"[A-Za-z0-9:._-]{1,253}", t))]
Decimal = Annotated[
    str, Text(f"a decimal above zero, up to {MAX_DIGITS} digits either side of the point", decimal_units)
]
AddressText = Annotated[
    str, Text("0x and 40 hexadecimal digits, or empty", lambda t: not t or parse_address(t))
]
WebUrl = Annotated[str, Text("an http or https URL, or empty", lambda t: not t or _url(t, "http", "https"))]
DatabaseUrl = Annotated[
    str, Text("sqlite:///PATH or postgresql://..., or empty", lambda t: not t or _database(t))
]
FilePath = Annotated[
    str, Text("an absolute path, or empty", lambda t: re.fullmatch(r"(/[^\0]{0,1023})?", t) is not None)
]
JsonPath = Annotated[
    str,
    Text(
        "up to 8 names or list indices joined by dots",
        lambda t: re.fullmatch(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}", t),
    ),
]


ClusterAddress = Annotated[
    str,
    Text(
        "HOST:PORT, auto or empty",
        lambda t: re.fullmatch(r"(auto|[A-Za-z0-9.-]{1,253}:[0-9]{1,5})?", t) is not None,
    ),
]
Module = Annotated[
    str,
    Text(
        "names joined by dots, like package.module",
        lambda t: re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}(\.[A-Za-z_][A-Za-z0-9_]{0,63}){0,7}", t),
    ),
]


class Group(BaseModel):
    """A table of settings: immutable, and nothing unknown in it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class VenueSettings(Group):
    """Who runs it."""

    name: Name = Field(default="darkpool", description="name of the venue")
    profile: Literal["production", "development", "insecure-test"] = Field(
        default="production", description="size of the keys; only production is secure"
    )
    members: Whole = Field(default=4, ge=3, le=MAX_MEMBERS, description="members of the committee")
    threshold: Whole = Field(
        default=1, ge=1, le=7, description="members that may collude and still learn nothing"
    )


class CommitteeSettings(Group):
    """Where the members are (docs/committee.md)."""

    file: FilePath = Field(
        default="", description="committee.json of members that run elsewhere; if empty, they run here"
    )


class ApiSettings(Group):
    """The REST service, and what one client may ask of it."""

    host: Host = Field(default="127.0.0.1", description="where the API listens")
    port: Whole = Field(default=8480, ge=0, le=65_535, description="TCP port of the API, 0 for a free one")
    max_body_bytes: Whole = Field(
        default=360_448,
        ge=16_384,
        le=1 << 20,
        description="largest body; an order is up to 262144 bytes, base64 more",
    )
    request_expiry_seconds: Whole = Field(
        default=60, ge=5, le=3600, description="longest life of a signed request, which is remembered as long"
    )
    max_connections: Whole = Field(default=1024, ge=1, le=65_535, description="connections served at once")
    max_streams: Whole = Field(default=256, ge=1, le=65_535, description="event streams open at once")
    stream_queue: Whole = Field(
        default=256, ge=1, le=65_536, description="events a slow reader may lag before it is disconnected"
    )
    requests_per_second: Whole = Field(
        default=100, ge=1, le=100_000, description="requests of one client address"
    )
    request_burst: Whole = Field(
        default=400, ge=1, le=100_000, description="requests of one client address at once"
    )
    orders_per_second: Whole = Field(
        default=20, ge=1, le=10_000, description="orders of one account, decoys too"
    )
    order_burst: Whole = Field(default=100, ge=1, le=10_000, description="orders of one account at once")
    max_open_orders: Whole = Field(
        default=MAX_OPEN_PER_ACCOUNT,
        ge=1,
        le=MAX_OPEN_PER_ACCOUNT,
        description="orders of one account that stand at a time, decoys too",
    )


class DatabaseSettings(Group):
    """Where the operator's data lies; members keep their own."""

    url: DatabaseUrl = Field(
        default="", repr=False, description="the operator's database; if empty, SQLite in the data folder"
    )


class ChainSettings(Group):
    """The chain and the clock rules of its vault, which never change once it is deployed."""

    rpc_url: WebUrl = Field(
        default="", repr=False, description="node of the chain; if empty, anvil is started"
    )
    vault: AddressText = Field(default="", description="vault to attach to; if empty, one is deployed")
    block_seconds: Whole = Field(
        default=1, ge=1, le=3600, description="time between blocks, if anvil is started"
    )
    finality_blocks: Whole = Field(
        default=2, ge=0, le=10_000, description="blocks above one that make it final"
    )
    max_fee_gwei: Whole = Field(
        default=200, ge=1, le=1_000_000, description="most a settlement ever offers per gas"
    )
    bump_seconds: Whole = Field(
        default=45, ge=1, le=3600, description="seconds without a block after which it offers more"
    )
    settle_window: Whole = Field(
        default=DEFAULT_SETTLE_WINDOW,
        ge=1,
        le=MAX_DELAY,
        description="seconds after sealing that a round may settle",
    )
    finality_seconds: Whole = Field(
        default=DEFAULT_FINALITY, ge=0, le=MAX_DELAY, description="seconds the vault allows for finality"
    )
    withdraw_delay: Whole = Field(
        default=DEFAULT_DELAY,
        ge=MIN_WITHDRAW_DELAY,
        le=MAX_DELAY,
        description="seconds a withdrawal waits; above settle_window + finality_seconds",
    )
    cancel_delay: Whole = Field(
        default=DEFAULT_DELAY,
        ge=1,
        le=MAX_DELAY,
        description="seconds a cancellation on chain waits; above settle_window + finality_seconds",
    )
    committee_delay: Whole = Field(
        default=DEFAULT_COMMITTEE_DELAY,
        ge=1,
        le=MAX_DELAY,
        description="seconds a change of committee waits; above 2 * withdraw_delay",
    )
    guardian: AddressText = Field(
        default="", description="who may pause settling, and nothing else; if empty, the operator's address"
    )


class RoundSettings(Group):
    """When rounds are sealed, and how long they may take."""

    interval_seconds: Whole = Field(default=10, ge=1, le=_DAY, description="least time a round stays open")
    random_seconds: Whole = Field(default=3, ge=0, le=_DAY, description="most time added to it at random")
    max_unsettled_rounds: Whole = Field(
        default=8, ge=1, le=8, description="rounds with a result and not settled at which no round is sealed"
    )
    clear_timeout: Whole = Field(
        default=120, ge=1, le=3600, description="seconds clearing may take before it aborts"
    )


class SettlementSettings(Group):
    """When the rounds that wait are netted into a settlement: whichever of these is reached first."""

    rounds: Whole = Field(default=4, ge=1, le=8, description="rounds that close a window")
    seconds: Whole = Field(
        default=10, ge=0, le=_DAY, description="age of the oldest result that closes a window"
    )
    gas: Whole = Field(
        default=12_000_000,
        ge=1_000_000,
        le=MAX_SETTLEMENT_GAS,
        description="estimated gas of the settlement that closes a window",
    )


class AdmissionSettings(Group):
    """How proofs of orders are verified."""

    batch_ms: Whole = Field(
        default=50, ge=1, le=1000, description="milliseconds an order waits for others to join it"
    )
    max_batch: Whole = Field(default=32, ge=1, le=256, description="orders verified together")
    max_queue: Whole = Field(
        default=1024, ge=1, le=65_536, description="orders waiting, beyond which clients wait"
    )
    workers: Whole = Field(default=0, ge=0, le=256, description="processes that verify, 0 for one a core")


class WorkersSettings(Group):
    """Who does the heavy work: verification of orders, opening of sums (docs/scaling.md)."""

    kind: Literal["processes", "ray"] = Field(
        default="processes", description="processes of this machine, or a Ray cluster"
    )
    address: ClusterAddress = Field(
        default="", description="for ray: the head of the cluster, or auto for the one of this machine"
    )
    seconds: Whole = Field(
        default=60, ge=1, le=3600, description="longest time for a batch, before it is done elsewhere"
    )


class PluginSettings(Group):
    """A module that screens too (compliance/hooks.py)."""

    module: Module = Field(description="the module, as Python imports it")
    settings: dict[str, str | int] = Field(default={}, description="what its `setup` gets")


class ComplianceSettings(Group):
    """The compliance desk: the policy of a new venue, and what else is asked."""

    policy: FilePath = Field(
        default="", description="folder of the policy of a venue that never had one; later ones are applied"
    )
    max_policy_bytes: Whole = Field(
        default=2 << 20,
        ge=65_536,
        le=1 << 26,
        description="largest policy or revocation list as it is sent, in base64",
    )
    hook_seconds: Whole = Field(
        default=3, ge=1, le=60, description="seconds all plugins together may take to answer one question"
    )
    plugin: tuple[PluginSettings, ...] = Field(
        default=(), min_length=0, max_length=MAX_PLUGINS, description="plugins, in the order they are asked"
    )


class TokenSettings(Group):
    """A token of the vault."""

    symbol: Symbol = Field(description="symbol of the token")
    name: Title = Field(description="name of the token")
    decimals: Whole = Field(ge=0, le=MAX_DIGITS, description="decimals of its contract")
    quantum: Decimal = Field(description="smallest amount the venue counts, in tokens")
    address: AddressText = Field(default="", description="its contract; if empty, a test token is deployed")


class ReferenceSettings(Group):
    """Where a market's reference price comes from."""

    source: Literal["last", "file", "http"] = Field(
        default="last", description="last clearing price, an operator's file, or a web service"
    )
    start: Decimal = Field(
        default="2000.00", description="first reference and centre of the grid, on the tick"
    )
    path: FilePath = Field(default="", description="for file: a text file that holds one decimal")
    max_age_seconds: Whole = Field(
        default=300, ge=1, le=_DAY, description="for file: older than this it is not used"
    )
    url: WebUrl = Field(default="", repr=False, description="for http: answers with JSON, without redirect")
    field: JsonPath = Field(default="price", description="for http: where in the JSON the price is")
    timeout_seconds: Whole = Field(default=3, ge=1, le=30, description="for http: longest time to answer")
    max_move_ticks: Whole = Field(
        default=16, ge=0, le=MAX_LEVELS, description="most the reference moves from round to round"
    )


class MarketSettings(Group):
    """A pair of tokens that rounds cross."""

    name: Name = Field(description="name of the market")
    base: Symbol = Field(description="symbol of the token bought and sold")
    quote: Symbol = Field(description="symbol of the token paid with")
    lot: Decimal = Field(description="unit of every quantity, in base tokens")
    tick: Decimal = Field(description="price step, in quote tokens per base token")
    levels: Whole = Field(default=64, ge=MIN_LEVELS, le=MAX_LEVELS, description="prices of the grid")
    pressure_ticks: Whole = Field(
        default=0,
        ge=0,
        le=MAX_LEVELS,
        description="ticks a surplus moves the price off the reference, at most",
    )
    min_volume: Whole = Field(
        default=1, ge=1, le=MAX_VOLUME, description="least lots a round must cross to reveal more"
    )
    min_accounts: Whole = Field(
        default=2, ge=1, le=MAX_ORDERS_PER_ROUND, description="least accounts of a round"
    )
    min_orders: Whole = Field(default=2, ge=1, le=MAX_ORDERS_PER_ROUND, description="least orders of a round")
    reference: ReferenceSettings = Field(default=ReferenceSettings(), description="the reference price")


TOKENS: Final = (
    TokenSettings(symbol="WETH", name="Wrapped Ether", decimals=18, quantum="0.000000001"),
    TokenSettings(symbol="USDC", name="USD Coin", decimals=6, quantum="0.000001"),
)
MARKETS: Final = (MarketSettings(name="WETH-USDC", base="WETH", quote="USDC", lot="0.01", tick="0.05"),)
