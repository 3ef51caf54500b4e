"""The venue's settings: a file `darkpool.toml`, over it the environment, over that the command line.

The settings themselves are in `darkpool.config_groups`. In the environment one is called
DARKPOOL_GROUP__NAME; the lists of tables (DARKPOOL_TOKEN, DARKPOOL_MARKET) are JSON there. Empty text stands
for none.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from math import comb
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self, cast

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from commitments.params import MAX_MASK_SETS
from darkpool.config_groups import (
    MARKETS,
    TOKENS,
    AdmissionSettings,
    ApiSettings,
    ChainSettings,
    CommitteeSettings,
    ComplianceSettings,
    DatabaseSettings,
    Group,
    MarketSettings,
    ReferenceSettings,
    RoundSettings,
    SettlementSettings,
    TokenSettings,
    VenueSettings,
    WorkersSettings,
)
from darkpool.config_text import problem, rendered
from darkpool.errors import ConfigError
from darkpool.instrument import Instrument, TokenUnits
from darkpool.market import Grid

__all__ = [
    "AdmissionSettings",
    "ApiSettings",
    "ChainSettings",
    "CommitteeSettings",
    "ComplianceSettings",
    "DatabaseSettings",
    "MarketSettings",
    "ReferenceSettings",
    "RoundSettings",
    "Settings",
    "SettlementSettings",
    "TokenSettings",
    "VenueSettings",
    "WorkersSettings",
    "example",
]

FILE: Final = "darkpool.toml"
MAX_FILE_BYTES: Final = 1 << 16
PREFIX: Final = "DARKPOOL_"
MAX_TOKENS: Final = 8
MAX_MARKETS: Final = 16
_WAIT: Final = 4  # the part of the settle window that a result may wait for others


class Settings(Group):
    """All settings, checked against each other; the defaults are a venue on a chain of its own."""

    venue: VenueSettings = Field(default=VenueSettings(), description="the venue")
    committee: CommitteeSettings = Field(default=CommitteeSettings(), description="the committee")
    api: ApiSettings = Field(default=ApiSettings(), description="the REST service")
    database: DatabaseSettings = Field(default=DatabaseSettings(), description="the operator's database")
    chain: ChainSettings = Field(default=ChainSettings(), description="the chain")
    rounds: RoundSettings = Field(default=RoundSettings(), description="the schedule")
    settlement: SettlementSettings = Field(
        default=SettlementSettings(), description="when rounds are netted and settled"
    )
    admission: AdmissionSettings = Field(default=AdmissionSettings(), description="verification of orders")
    workers: WorkersSettings = Field(default=WorkersSettings(), description="who does the heavy work")
    compliance: ComplianceSettings = Field(default=ComplianceSettings(), description="the compliance desk")
    token: tuple[TokenSettings, ...] = Field(
        default=TOKENS, min_length=2, max_length=MAX_TOKENS, description="the vault's tokens, in its order"
    )
    market: tuple[MarketSettings, ...] = Field(
        default=MARKETS, min_length=1, max_length=MAX_MARKETS, description="the markets"
    )

    @classmethod
    def load(cls, folder: Path, overrides: Mapping[str, object] = MappingProxyType({})) -> Self:
        """The settings of a data folder; `overrides` are nested like the file and win over the environment.

        A folder without the file has the defaults. Raises ConfigError naming file or variable, field, limit.
        """
        path = folder / FILE
        layers = {"command line": overrides, "environment": _environment(cls), str(path): _read(path)}
        merged: dict[str, Any] = {}
        for layer in reversed(layers.values()):
            merged = _over(merged, layer)
        try:
            return cls(**merged)
        except ValidationError as error:
            raise problem(error, cls, layers) from None
        except ConfigError as error:
            raise ConfigError(f"{path}: {error.message}", error.hint) from None

    def database_url(self, folder: Path) -> str:
        """Where the operator's database is. May hold a password."""
        return self.database.url or f"sqlite:///{folder / 'venue.db'}"

    @property
    def api_url(self) -> str:
        """Where a process on this machine reaches the API."""
        host = "127.0.0.1" if self.api.host in {"0.0.0.0", "::"} else self.api.host  # noqa: S104
        return f"http://{host}:{self.api.port}"

    def units(self, symbol: str) -> TokenUnits:
        """The units of a token. Raises ConfigError if it is not among the venue's."""
        for token in self.token:
            if token.symbol == symbol:
                return TokenUnits.parse(symbol, token.decimals, token.quantum)
        raise ConfigError(f"token {symbol} is not defined", "add a [[token]] table for it")

    def instrument(self, market: MarketSettings) -> Instrument:
        """A market in human units. Raises ConfigError if lot or tick are not whole quanta."""
        base, quote = self.units(market.base), self.units(market.quote)
        return Instrument.parse(market.name, base, quote, market.lot, market.tick)

    def grid(self, market: MarketSettings) -> Grid:
        """A market's prices, centred on `reference.start`. Raises ConfigError if they do not fit."""
        instrument = self.instrument(market)
        start = instrument.price(market.reference.start, "reference.start")
        return Grid.centred(start, instrument.tick, market.levels)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        members, threshold = self.venue.members, self.venue.threshold
        if members < 2 * threshold + 1 or comb(members, threshold) > MAX_MASK_SETS:
            raise ConfigError(
                f"venue: {members} members with threshold {threshold}; there must be at least "
                f"2 * threshold + 1, and at most {MAX_MASK_SETS} sets of `threshold` of them",
                "for example 4 and 1, or 6 and 2",
            )
        self._check_delays()
        self._check_windows()
        if self.workers.kind == "ray" and not self.workers.address:
            raise ConfigError("workers: kind is ray, and address is empty", "give HOST:PORT, or auto")
        if not self.chain.rpc_url and (self.chain.vault or any(t.address for t in self.token)):
            raise ConfigError(
                "chain.rpc_url is empty, so a new chain is started, which cannot have this vault or token",
                "give rpc_url, or leave out chain.vault and every token's address",
            )
        _unique("token symbol", [t.symbol for t in self.token])
        _unique("token address", [t.address.lower() for t in self.token if t.address])
        _unique("market name", [m.name for m in self.market])
        for market in self.market:
            self._check_market(market)
        return self

    def _check_delays(self) -> None:
        chain = self.chain
        floor = chain.settle_window + chain.finality_seconds
        for name, least, what in (
            ("withdraw_delay", floor, "settle_window + finality_seconds"),
            ("cancel_delay", floor, "settle_window + finality_seconds"),
            ("committee_delay", 2 * chain.withdraw_delay, "2 * withdraw_delay"),
        ):
            if (value := getattr(chain, name)) <= least:
                raise ConfigError(
                    f"chain.{name} is {value}, must be above {what}, which is {least}",
                    "lengthen it; else a settlement in its window could be overtaken",
                )

    def _check_windows(self) -> None:
        for name, most, what in (
            ("rounds", self.rounds.max_unsettled_rounds, "rounds.max_unsettled_rounds"),
            ("seconds", self.chain.settle_window // _WAIT, f"1/{_WAIT} of chain.settle_window"),
        ):
            if (value := getattr(self.settlement, name)) > most:
                raise ConfigError(
                    f"settlement.{name} is {value}, must be at most {what}, which is {most}",
                    "lower it; else rounds are not settled before their window closes",
                )

    def _check_market(self, market: MarketSettings) -> None:
        reference = market.reference
        if market.base == market.quote:
            raise ConfigError(
                f"market {market.name}: base and quote are both {market.base}", "name two tokens"
            )
        try:
            self.grid(market)
        except ConfigError as error:
            text = error.message.removeprefix(f"market {market.name}: ")
            raise ConfigError(f"market {market.name}: {text}", error.hint) from None
        for source, value, name in (("file", reference.path, "path"), ("http", reference.url, "url")):
            if reference.source == source and not value:
                raise ConfigError(
                    f"market {market.name}: reference.source is {source}, reference.{name} is empty",
                    f"give reference.{name}",
                )


def example() -> str:
    """A darkpool.toml that sets everything to its default, with comments."""
    head = (
        f"# Settings of the venue at their defaults. The environment wins over them: {PREFIX}GROUP__NAME.\n\n"
    )
    return head + rendered(Settings())


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "make it a readable file") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: more than {MAX_FILE_BYTES} bytes", "shorten it")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8", "save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {str(error)[:100]}", "correct the line") from None


def _environment(settings: type[Settings]) -> dict[str, Any]:
    groups = [name.upper() for name in settings.model_fields]
    for name in os.environ:
        if name.upper().startswith(PREFIX) and "__" in name:
            group = name.upper().removeprefix(PREFIX).partition("__")[0]
            if group not in groups:  # pydantic-settings would pass over it
                raise ConfigError(f"environment: {name}: no such setting", f"groups: {', '.join(groups)}")
    try:
        # A source looks at names and types only; `Settings` is no BaseSettings because `load` merges, so that
        # an error can say whence a value came.
        source = EnvSettingsSource(
            cast("type[BaseSettings]", settings), env_prefix=PREFIX, env_nested_delimiter="__"
        )
        return source()
    except SettingsError as error:
        raise ConfigError(f"environment: {error}", "tables and lists of tables are JSON there") from None


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; where both have a value that is no mapping, the one above."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            merged[name] = _over(under, value)
        else:
            merged[name] = value
    return merged


def _unique(what: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ConfigError(f"{what} {value} occurs {values.count(value)} times", "each must be unique")
