"""What the desk keeps in either database: policies, one credential an account, one list an issuer, blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from darkpool.store.compliance_store import ComplianceStore
from darkpool.store.database import Database
from darkpool.store.records import BlockRow, CredentialRow, PolicyRow, RevocationsRow
from tests.databases import KINDS, fresh_url


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with fresh_url(request.param, tmp_path) as url:
        opened = Database.open(url)
        yield opened
        opened.close()


def test_the_policy_applied_last_is_in_force_and_all_are_kept(database: Database) -> None:
    store = ComplianceStore(database)
    assert store.policy() is None
    for number, name in enumerate((b"a", b"b", b"a"), 1):
        store.add_policy(PolicyRow(name * 32, b"files " + name, 1_000 + number, "officer"))
    last = store.policy()
    assert last is not None
    assert (last.hash, last.applied_at, last.number > 0) == (b"a" * 32, 1_003, True)
    other = store.policy(b"b" * 32)
    assert other is not None
    assert (other.files, other.actor) == (b"files b", "officer")
    assert store.policy(b"c" * 32) is None


def test_credentials_and_lists_replace_those_of_before(database: Database) -> None:
    store = ComplianceStore(database)
    for payload in (b"one", b"two"):
        store.save_credential(CredentialRow(b"\x01" * 20, payload, 5))
        store.save_revocations(RevocationsRow(b"\x02" * 20, payload, 5))
    store.save_credential(CredentialRow(b"\x03" * 20, b"three", 6))
    assert {(r.account, r.payload) for r in store.credentials()} == {
        (b"\x01" * 20, b"two"),
        (b"\x03" * 20, b"three"),
    }
    assert store.revocations() == [RevocationsRow(b"\x02" * 20, b"two", 5)]


def test_blocks_are_kept_until_they_are_lifted(database: Database) -> None:
    store = ComplianceStore(database)
    rows = [BlockRow("account", "0x1", "why", "officer", 7), BlockRow("market", "M", "why not", "officer", 8)]
    for row in (*rows, rows[0]):
        store.block(row)
    assert store.blocks() == rows
    store.unblock("market", "M")
    store.unblock("market", "M")
    assert store.blocks() == rows[:1]
