"""Connections, layout and errors of a database."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from darkpool.errors import ConfigError
from darkpool.store import database as module
from darkpool.store import rows
from darkpool.store.database import Database, StoreError, sqlite_url
from darkpool.store.log_store import LogStore
from darkpool.store.records import SettlementState
from darkpool.store.rows import Rows
from darkpool.store.tables import Table
from darkpool.store.venue_store import VenueStore
from tests.databases import KINDS, fresh_url

PASSWORD = "correct-horse"


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database.open(url)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "sqlite",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file:a.db?mode=memory&uri=true",
        "sqlite://host/a.db",
        "sqlite+aiosqlite:///a.db",
        "mysql://root@localhost/a",
        "postgresql://127.0.0.1",
        "postgresql+psycopg2://127.0.0.1/a",
        f"postgresql://root:{PASSWORD}@host:port/a",
        f"postgresql://root:{PASSWORD}@127.0.0.1/a?plugin={PASSWORD}",
        f"nonsense://root:{PASSWORD}@host/a",
        "postgresql://" + "a" * module.MAX_URL,
    ],
)
def test_refuses_a_url_that_is_none_without_quoting_it(bad: str) -> None:
    with pytest.raises(ConfigError, match="database url") as refused:
        Database.open(bad)
    assert refused.value.hint
    assert PASSWORD not in refused.value.rendered()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_database_that_is_away_names_no_password(scheme: str) -> None:
    with pytest.raises(StoreError, match="database: cannot bring its tables up to date") as refused:
        Database.open(f"{scheme}://root:{PASSWORD}@127.0.0.1:1/{PASSWORD}?application_name={PASSWORD}")
    assert refused.value.hint == "the database must be reachable and writable"
    assert refused.value.__suppress_context__
    assert PASSWORD not in repr(refused.value)


def test_an_unknown_connection_option_is_a_store_error() -> None:
    with pytest.raises(StoreError) as refused:
        Database.open(f"postgresql://root:{PASSWORD}@127.0.0.1:1/a?{PASSWORD}={PASSWORD}")
    assert PASSWORD not in refused.value.rendered()


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="SQLITE_CANTOPEN"):
        Database.open(sqlite_url(tmp_path / "missing" / "store.db"))


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(StoreError, match="SQLITE_NOTADB"):
        Database.open(sqlite_url(path))
    assert path.read_bytes() == b"something else" * 1000


def test_a_path_with_characters_of_urls(tmp_path: Path) -> None:
    path = tmp_path / "a b%20?#@:.db"
    database = Database.open(sqlite_url(path))
    assert path.exists()
    database.close()


def test_tables_are_those_the_program_declares(database: Database) -> None:
    with database.reading("compare") as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_opening_again_changes_nothing(url: str, database: Database) -> None:
    LogStore(database).append(0, [b"kept"])
    again = Database.open(url)
    assert LogStore(again).entries(0, 10) == [b"kept"]
    again.close()


def test_tables_of_a_newer_program_are_left_alone(url: str, database: Database) -> None:
    with database.writing("age") as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="not of this program's making") as refused:
        Database.open(url)
    assert "version of darkpool that wrote it last" in refused.value.hint
    with database.reading("look") as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_foreign_tables_of_our_names_are_left_alone_and_nothing_is_added(url: str) -> None:
    engine = module._engine(module.parsed_url(url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (what INTEGER)"))
    with pytest.raises(StoreError):
        Database.open(url)
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == ["orders"]
    engine.dispose()


def test_settlements_of_one_round_each_become_settlements_of_a_list_of_rounds(url: str) -> None:
    old_layout(url, "settled", "void")
    opened = Database.open(url)
    store = VenueStore(opened)
    assert [(row.id, row.state, row.payload) for row in store.settlements()] == [
        (2, SettlementState.VOID, b"payload 2"),
        (1, SettlementState.SETTLED, b"payload 1"),
    ]
    assert [json.loads(row.rounds) for row in store.settlements()] == [[["aa" * 32, 2]], [["aa" * 32, 1]]]
    assert {row.flows for row in store.settlements()} == {"[]"}
    found = [(row.number, row.settlement) for row in store.rounds(b"\xaa" * 32)]
    assert found == [(2, bytes([2]) * 32), (1, bytes([1]) * 32)]
    assert {row.price_text for row in store.rounds(b"\xaa" * 32)} == {None}
    opened.close()


@pytest.mark.parametrize("state", ["pending", "submitted"])
def test_a_layout_with_settlements_under_way_is_left_to_the_program_that_began_them(
    url: str, state: str
) -> None:
    old_layout(url, "settled", state)
    for _ in range(2):
        with pytest.raises(StoreError, match="1 settlements of an earlier version") as refused:
            Database.open(url)
        assert "start that version once more" in refused.value.hint


def old_layout(url: str, *states: str) -> None:
    """A database of the first layout with a settlement of each state, the first of round 1."""
    engine = module._engine(module.parsed_url(url)).execution_options(darkpool_writes=True)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "darkpool.store:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for number, state in enumerate(states, 1):
            connection.execute(
                text(
                    "INSERT INTO rounds (market, number, state, reference, reference_price, source, "
                    "opened_at, open_sequence, terms_hash, settlement, reason) "
                    "VALUES (:m, :n, :s, 1, '', '', 1, 1, :m, :n, '')"
                ),
                {"m": b"\xaa" * 32, "n": number, "s": "settled"},
            )
            connection.execute(
                text(
                    "INSERT INTO settlements (digest, id, market, round, sequence, payload, created_at, "
                    "sealed_at, state, signatures) VALUES (:d, :n, :m, :n, :n, :p, 1, 1, :s, :p)"
                ),
                {
                    "d": bytes([number]) * 32,
                    "n": number,
                    "m": b"\xaa" * 32,
                    "p": b"payload %d" % number,
                    "s": state,
                },
            )
    engine.dispose()


def test_processes_may_open_a_new_database_at_once(url: str) -> None:
    code = "import sys; from darkpool.store.database import Database; Database.open(sys.argv[1]).close()"
    started = [
        subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [(p.communicate()[1], p.returncode) for p in started] == [("", 0)] * 4


def test_sqlite_is_set_to_lose_nothing(tmp_path: Path) -> None:
    database = Database.open(sqlite_url(tmp_path / "store.db"))
    with database.reading("look") as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.close()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15_000}


def test_a_reader_sees_the_state_before_a_write_in_progress(url: str, database: Database) -> None:
    other = LogStore(Database.open(url))
    with database.writing("write slowly") as connection:
        connection.execute(text("INSERT INTO entries VALUES (0, :b, :b)"), {"b": b"x"})
        assert other.size() == 0
    assert other.size() == 1
    other.database.close()


def test_an_error_in_a_transaction_undoes_it(database: Database) -> None:
    def fail() -> None:
        with database.writing("fail") as connection:
            connection.execute(text("INSERT INTO entries VALUES (0, :b, :b)"), {"b": b"x"})
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    assert LogStore(database).size() == 0


def test_a_failed_statement_shows_neither_itself_nor_its_values(
    database: Database,
) -> None:
    def fail() -> None:
        with database.writing("try") as connection:
            connection.execute(text("SELECT :v FROM missing"), {"v": PASSWORD})

    with pytest.raises(StoreError, match=r"database: cannot try \(\w+ \w+\)") as refused:
        fail()
    assert PASSWORD not in refused.value.rendered()
    assert "SELECT" not in refused.value.rendered()
    LogStore(database).append(0, [b"the next call works"])


def test_a_locked_database_is_refused_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0)
    url = sqlite_url(tmp_path / "store.db")
    holder, other = Database.open(url), LogStore(Database.open(url))
    with holder.writing("hold"), pytest.raises(StoreError, match="SQLITE_BUSY"):
        other.append(0, [b"x"])
    other.append(0, [b"x"])
    holder.close()
    other.database.close()


@pytest.mark.parametrize(
    "mapped", [found for found in vars(rows).values() if isinstance(found, Rows)], ids=lambda m: m.table.name
)
def test_a_record_has_the_columns_of_its_table(mapped: Rows[Any]) -> None:
    columns = {c.name: c.nullable for c in mapped.table.columns}
    optional = {f.name: "None" in str(f.type) for f in fields(mapped.record)}
    assert optional == {name: columns[name] for name in mapped.names}
    assert set(columns) - set(mapped.names) <= {"position"}


def test_a_file_of_ours_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "private.db"
    path.touch(mode=0o644)
    Database.open(sqlite_url(path)).close()
    assert {p.name: p.stat().st_mode & 0o077 for p in tmp_path.iterdir()} == {path.name: 0}
