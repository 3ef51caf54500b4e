"""Settings: defaults, their example, precedence, and one line for everything that is wrong."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from darkpool.config import FILE, PREFIX, MarketSettings, Settings, example
from darkpool.config_text import limit
from darkpool.errors import ConfigError
from darkpool.instrument import Instrument, TokenUnits
from darkpool.market import Grid
from darkpool.types import Quanta


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)


def loaded(folder: Path, text: str) -> Settings:
    (folder / FILE).write_text(text)
    return Settings.load(folder)


def refused(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        loaded(folder, text)
    assert "\n" not in error.value.message
    assert len(error.value.message) < 400
    assert error.value.hint
    return error.value


MARKET = '[[market]]\nname = "M"\nbase = "WETH"\nquote = "USDC"\nlot = "0.01"\ntick = "0.05"\n'
TOKENS = """
[[token]]
symbol = "AAA"
name = "First"
decimals = 18
quantum = "0.000000001"
[[token]]
symbol = "BBB"
name = "Second"
decimals = 6
quantum = "0.000001"
"""


# --- defaults and the example ---------------------------------------------------------------------------


def test_a_folder_without_a_file_has_the_defaults(tmp_path: Path) -> None:
    assert Settings.load(tmp_path) == Settings()


def test_the_example_is_the_defaults(tmp_path: Path) -> None:
    assert loaded(tmp_path, example()) == Settings()


def test_the_example_explains_every_setting_once() -> None:
    lines = example().splitlines()
    assert max(map(len, lines)) <= 120
    for before, line in pairwise(lines):
        if " = " in line and not line.startswith("#"):
            assert before.startswith("#") or before == "[[token]]" or " = " in before  # the second token's
    comments = [line for line in lines if line.startswith("#")]
    assert len(comments) == 1 + sum(1 for _ in fields(Settings()))
    assert len(set(comments)) == len(comments)


def fields(model: BaseModel) -> Iterator[str]:
    """Every setting that is no table, its limit checked to have words; of tables, those there are."""
    for name, info in type(model).model_fields.items():
        assert info.description, name
        words = limit(info)
        if words == "a table" or words.endswith(" tables"):
            value = getattr(model, name)
            for inner in value[:1] if isinstance(value, tuple) else [value]:
                yield from fields(inner)
        else:
            yield name


def test_the_default_market_works() -> None:
    settings = Settings()
    (market,) = settings.market
    weth, usdc = TokenUnits("WETH", 18, 10**9), TokenUnits("USDC", 6, 1)
    assert settings.instrument(market) == Instrument("WETH-USDC", weth, usdc, Quanta(10**7), Quanta(500))
    grid = settings.grid(market)
    assert grid == Grid.centred(Quanta(20_000_000), Quanta(500), 64)
    assert grid.first_tick * 500 == grid.p_0


def test_the_default_database_is_in_the_folder(tmp_path: Path) -> None:
    assert Settings().database_url(tmp_path) == f"sqlite:///{tmp_path}/venue.db"
    settings = loaded(tmp_path, '[database]\nurl = "postgresql://postgres@127.0.0.1:5432/test"')
    assert settings.database_url(tmp_path) == "postgresql://postgres@127.0.0.1:5432/test"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().api.port = 1


# --- precedence -----------------------------------------------------------------------------------------


def test_command_line_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE).write_text('[api]\nhost = "::1"\nport = 1\nmax_streams = 7')
    monkeypatch.setenv("DARKPOOL_API__PORT", "2")
    monkeypatch.setenv("DARKPOOL_API__HOST", "venue.example")
    api = Settings.load(tmp_path, {"api": {"port": 3}}).api
    assert (api.host, api.port, api.max_streams) == ("venue.example", 3, 7)


def test_lists_of_tables_in_the_environment_are_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    market = {"name": "M", "base": "WETH", "quote": "USDC", "lot": "0.1", "tick": "0.01"}
    monkeypatch.setenv("DARKPOOL_MARKET", json.dumps([{**market, "reference": {"start": "7.00"}}]))
    (got,) = Settings.load(tmp_path).market
    assert got == MarketSettings.model_validate({**market, "reference": {"start": "7.00"}})


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("DARKPOOL_API__PORT", "x", "environment: api.port: allowed: a whole number, 0 to 65535"),
        ("DARKPOOL_API__PORT", "65536", "environment: api.port: got 65536; allowed"),
        ("DARKPOOL_API__PORT", " 80", "environment: api.port: allowed"),
        ("DARKPOOL_API__PORT", "8_0", "environment: api.port: allowed"),
        ("DARKPOOL_API__PORT", "\u0668", "environment: api.port: allowed"),
        ("DARKPOOL_API__PORT", "", "environment: api.port: allowed"),
        ("DARKPOOL_API__PROT", "1", "environment: api.prot: no such setting"),
        ("DARKPOOL_APY__PORT", "1", "environment: DARKPOOL_APY__PORT: no such setting"),
        ("DARKPOOL_API", "1", "environment: api: got 1; allowed: a table"),
        ("DARKPOOL_API", "{hush", 'environment: error parsing value for field "api"'),
        ("DARKPOOL_MARKET", "[]", "environment: market: allowed: 1 to 16 tables"),
        ("DARKPOOL_DATABASE__URL", "mysql://u:hush@h/d", "environment: database.url: allowed: sqlite"),
        ("DARKPOOL_CHAIN__RPC_URL", "ftp://u:hush@h", "environment: chain.rpc_url: allowed: an http"),
    ],
)
def test_a_bad_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    error = refused(tmp_path, "[api]\nport = 99999" if "APY" in name else "")
    assert error.message.startswith(message)
    assert "hush" not in repr(error)


def test_a_bad_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"command line: venue.profile: allowed: one of production"):
        Settings.load(tmp_path, {"venue": {"profile": "fast"}})


def test_other_variables_of_ours_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKPOOL_REQUIRE_ANVIL", "1")
    assert Settings.load(tmp_path) == Settings()


# --- the file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, message",
    [
        ("[api]\nport = 65536", "api.port: got 65536; allowed: a whole number, 0 to 65535"),
        ("[api]\nport = -1", "api.port: got -1; allowed"),
        ("[api]\nport = true", "api.port: got True; allowed"),
        ("[api]\nport = 80.0", "api.port: got 80.0; allowed"),
        ("[api]\nport = nan", "api.port: got nan; allowed"),
        ("[api]\nport = 1979-05-27", "api.port: allowed"),
        ("[api]\nport = " + "9" * 4000, "api.port: got " + "9" * 40 + "; allowed"),
        ("[api]\nport = []", "api.port: allowed"),
        ("[api]\nmax_open_orders = 513", "api.max_open_orders: got 513; allowed: a whole number, 1 to 512"),
        ("[api]\nhost = 1", "api.host: got 1; allowed: an address or a host name"),
        ('[api]\nhost = "a b"', "api.host: allowed"),
        ('[api]\nhost = ""', "api.host: allowed"),
        ("[api]\nprot = 1", "api.prot: no such setting"),
        ("[api]\n" + "p" * 5000 + " = 1", "api." + "p" * 40 + ": no such setting"),
        ("[apy]\nport = 1", "apy: no such setting"),
        ("_env_file = 1", "_env_file: no such setting"),
        ("api = 1", "api: got 1; allowed: a table"),
        ("api = []", "api: allowed: a table"),
        ('[venue]\nname = "a\\nb"', "venue.name: allowed: 1 to 64 of"),
        ('[venue]\nprofile = "PRODUCTION"', "venue.profile: allowed: one of production, development"),
        ("[rounds]\nmax_unsettled_rounds = 0", "rounds.max_unsettled_rounds: got 0"),
        ("[settlement]\nrounds = 9", "settlement.rounds: got 9; allowed: a whole number, 1 to 8"),
        (
            "[settlement]\ngas = 16777216",
            "settlement.gas: got 16777216; allowed: a whole number, 1000000 to 150",
        ),
        ('[chain]\nvault = "0x12"', "chain.vault: allowed: 0x and 40"),
        ('[chain]\nvault = "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"', "chain.vault: allowed"),
        ('[chain]\nrpc_url = "127.0.0.1:8545"', "chain.rpc_url: allowed"),
        ('[chain]\nrpc_url = "http://"', "chain.rpc_url: allowed"),
        ('[chain]\nrpc_url = "http://h:99999"', "chain.rpc_url: allowed"),
        ('[chain]\nrpc_url = "http://h/ "', "chain.rpc_url: allowed"),
        ('[database]\nurl = "sqlite://"', "database.url: allowed"),
        ('[database]\nurl = "sqlite:///:memory:"', "database.url: allowed"),
        ('[database]\nurl = "sqlite:///a?mode=memory"', "database.url: allowed"),
        ('[database]\nurl = "postgresql://"', "database.url: allowed"),
        ("token = []", "token: allowed: 2 to 8 tables"),
        ("[token]", "token: allowed: 2 to 8 tables"),
        (TOKENS * 5, "token: allowed: 2 to 8 tables"),
        (TOKENS.replace('"First"', "1"), "token 1, name: got 1; allowed"),
        (TOKENS.replace("decimals = 6", "decimals = 19"), "token 2, decimals: got 19; allowed"),
        (TOKENS.replace('"0.000001"', "0.000001"), "token 2, quantum: got 1e-06; allowed: a decimal"),
        (TOKENS.replace('"0.000001"', '"1e-6"'), "token 2, quantum: allowed: a decimal"),
        (TOKENS.replace('"0.000001"', '"0.000000"'), "token 2, quantum: allowed: a decimal above zero"),
        (TOKENS.replace('quantum = "0.000001"', ""), "token 2, quantum is missing"),
        (TOKENS.replace('"AAA"', '"A A"'), "token 1, symbol: allowed"),
        (MARKET.replace('tick = "0.05"', ""), "market 1, tick is missing"),
        (MARKET + "levels = 257", "market 1, levels: got 257; allowed: a whole number, 2 to 256"),
        (MARKET + "min_volume = 0", "market 1, min_volume: got 0"),
        (MARKET + 'reference = "last"', "market 1, reference: allowed: a table"),
        (MARKET + "[market.reference]\nmax_move_ticks = 257", "market 1, reference.max_move_ticks: got 257"),
        (MARKET + '[market.reference]\nsource = "ftp"', "market 1, reference.source: allowed: one of last"),
        (MARKET + '[market.reference]\nstart = "-1"', "market 1, reference.start: allowed"),
        (MARKET + '[market.reference]\nurl = "file:///etc/passwd"', "market 1, reference.url: allowed"),
        (MARKET + '[market.reference]\npath = "price"', "market 1, reference.path: allowed: an absolute"),
        (MARKET + '[market.reference]\nfield = "a..b"', "market 1, reference.field: allowed"),
        (MARKET + '[market.reference]\nfield = "a' + ".a" * 8 + '"', "market 1, reference.field: allowed"),
    ],
)
def test_one_wrong_setting(tmp_path: Path, text: str, message: str) -> None:
    assert refused(tmp_path, text).message.startswith(f"{tmp_path / FILE}: {message}")


def test_an_unknown_setting_is_told_the_known_ones(tmp_path: Path) -> None:
    assert refused(tmp_path, "[venue]\nnmae = 1").hint == "known here: name, profile, members, threshold"


@pytest.mark.parametrize(
    "text, message",
    [
        ("[venue]\nthreshold = 2", "venue: 4 members with threshold 2"),
        ("[venue]\nmembers = 7\nthreshold = 3", "venue: 7 members with threshold 3"),
        ("[chain]\nwithdraw_delay = 4500", "chain.withdraw_delay is 4500, must be above settle_window + fin"),
        ("[chain]\ncancel_delay = 4500", "chain.cancel_delay is 4500, must be above"),
        ("[chain]\ncommittee_delay = 7200", "chain.committee_delay is 7200, must be above 2 * withdr"),
        ("[chain]\nwithdraw_delay = 3599", "chain.withdraw_delay: got 3599"),
        ("[chain]\nsettle_window = 6300", "chain.withdraw_delay is 7200, must be above"),
        (
            "[settlement]\nrounds = 4\n[rounds]\nmax_unsettled_rounds = 3",
            "settlement.rounds is 4, must be at",
        ),
        ("[settlement]\nseconds = 901", "settlement.seconds is 901, must be at most 1/4 of chain.settle_w"),
        ("[chain]\nsettle_window = 39", "settlement.seconds is 10, must be at most 1/4"),
        (f'[chain]\nvault = "0x{"0" * 39}1"', "chain.rpc_url is empty"),
        (TOKENS.replace("BBB", "AAA"), "token symbol AAA occurs 2 times"),
        (MARKET * 2, "market name M occurs 2 times"),
        (MARKET.replace("WETH", "USDC"), "market M: base and quote are both USDC"),
        (MARKET.replace("WETH", "DAI"), "market M: token DAI is not defined"),
        (TOKENS, "market WETH-USDC: token WETH is not defined"),
        (MARKET.replace('"0.05"', '"0.00005"'), "market M: tick for lots of 0.01: 0.00005 is no multiple of"),
        (MARKET.replace('"0.01"', '"0.0000000001"'), "market M: lot of WETH: 0.0000000001 is no multiple of"),
        (MARKET.replace('"0.05"', '"0.03"'), "market M: reference.start: got"),
        (MARKET + '[market.reference]\nstart = "1.60"', "market M: lowest price p_0 is 0"),
        (
            MARKET + '[market.reference]\nsource = "file"',
            "market M: reference.source is file, reference.path",
        ),
        (MARKET + '[market.reference]\nsource = "http"', "market M: reference.source is http, reference.url"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path: Path, text: str, message: str) -> None:
    assert refused(tmp_path, text).message.startswith(f"{tmp_path / FILE}: {message}")


def test_token_addresses_are_unique_however_written(tmp_path: Path) -> None:
    address = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    first, second = TOKENS.strip().split("\n[[token]]\n")
    text = (
        f'[chain]\nrpc_url = "http://127.0.0.1:8545"\n{first}\naddress = "{address}"\n[[token]]\n{second}\n'
    )
    text += f'address = "{address.lower()}"'
    assert "token address 0x5aaeb6" in refused(tmp_path, text).message


@pytest.mark.parametrize(
    "data, message",
    [
        (b"[api", "not TOML: "),
        (b"port = ", "not TOML: "),
        (b"a = 1\na = 2", "not TOML: "),
        (b"[api]\nport = " + b"9" * 5000, "not TOML: "),
        (b"a = " + b"[" * 60_000, "not TOML: "),
        (b"\xff", "byte 0 is not UTF-8"),
        (b"# " + b"x" * 65_536, "more than 65536 bytes"),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(ConfigError) as error:
        Settings.load(tmp_path)
    assert error.value.message.startswith(f"{tmp_path / FILE}: {message}")
    assert len(error.value.message) < 300


def test_deep_nesting_under_the_limit_py_ecc_sets(tmp_path: Path) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        for text in ("a = " + "[" * 65_000, "a = " + "[" * 32_000 + "]" * 32_000):
            assert refused(tmp_path, text).message.startswith(str(tmp_path / FILE))
    finally:
        sys.setrecursionlimit(before)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(ConfigError, match=r"darkpool.toml: Is a directory"):
        Settings.load(tmp_path)


def test_secrets_stay_out_of_repr_and_errors(tmp_path: Path) -> None:
    secret = (
        '[database]\nurl = "postgresql://u:hush@h/d"\n[chain]\nrpc_url = "https://h/hush"\n'
        + MARKET
        + '[market.reference]\nsource = "http"\nurl = "https://h/?key=hush"\n'
    )
    settings = loaded(tmp_path, secret)
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings)
    for wrong in ("postgresql:", "https:"):
        assert "hush" not in repr(refused(tmp_path, secret.replace(wrong, "x:")))


def test_plugins_are_tables_in_order(tmp_path: Path) -> None:
    text = """
    [compliance]
    hook_seconds = 5

    [[compliance.plugin]]
    module = "examples.plugins.http_screening"
    settings = {url = "https://screening.example", timeout_ms = 500}

    [[compliance.plugin]]
    module = "desk"
    """
    (tmp_path / FILE).write_text(text)
    found = Settings.load(tmp_path).compliance
    assert [plugin.module for plugin in found.plugin] == ["examples.plugins.http_screening", "desk"]
    assert found.plugin[0].settings == {"url": "https://screening.example", "timeout_ms": 500}


@pytest.mark.parametrize(
    "line, problem",
    [
        ('[[compliance.plugin]]\nmodule = "../x"', "compliance.plugin 1.*names joined by dots"),
        ('[[compliance.plugin]]\nmodule = "os; x"', "names joined by dots"),
        ("[[compliance.plugin]]\nsettings = {}", "is missing"),
        ('[compliance]\npolicy = "relative"', "an absolute path"),
        ("[compliance]\nhook_seconds = 0", "1 to 60"),
        ("[compliance]\nmax_policy_bytes = 1", "65536 to"),
    ],
)
def test_compliance_settings_out_of_bounds_are_refused_by_name(
    tmp_path: Path, line: str, problem: str
) -> None:
    (tmp_path / FILE).write_text(line)
    with pytest.raises(ConfigError, match=problem):
        Settings.load(tmp_path)
