"""`darkpool operator settling` and `committee` on a real anvil: the guardian pauses, and is replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from darkpool.chain import Chain
from darkpool.cli.app import app
from darkpool.committee.home import SEAT
from darkpool.committee.seat import Seat
from darkpool.config import Settings
from darkpool.convening import convened, member_home
from darkpool.deployment import deploy, operator_key
from darkpool.eip712 import address_of, fresh_key
from darkpool.errors import ChainRefused, ConfigError
from darkpool.types import Address, address_hex
from darkpool.vault import DEFAULT_COMMITTEE_DELAY
from tests.anvil import running_anvil
from tests.handover import propose

INSECURE: Final = {"venue": {"profile": "insecure-test"}}


@dataclass
class Deployed:
    folder: Path
    url: str
    chain: Chain

    def said(self, word: str, *options: str, group: str = "settling") -> dict[str, Any]:
        result = CliRunner().invoke(
            app,
            ["operator", group, word, "--data", str(self.folder), "--json", *options],
            env={"DARKPOOL_CHAIN__RPC_URL": self.url},
            catch_exceptions=False,
        )
        return dict(json.loads(result.output))


def deployed(folder: Path, url: str, guardian: Address | None = None) -> Deployed:
    chosen = {"rpc_url": url, "guardian": address_hex(guardian) if guardian else ""}
    settings = Settings.load(folder, {**INSECURE, "chain": chosen})
    chain, key = Chain.rpc(url, 0), operator_key(folder)
    chain.fund(address_of(key), 10**20)
    found = convened(folder, settings, key, lambda _: None)
    deploy(folder, settings, chain, found.committee.key, found.signers, key)
    return Deployed(folder, url, chain)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_anvil() as found:
        yield found


def test_the_operator_pauses_and_resumes_again_and_again(tmp_path: Path, url: str) -> None:
    venue = deployed(tmp_path, url)
    assert venue.said("pause")["paused"]
    assert venue.chain.paused()
    assert venue.said("pause") == {"paused": True, "transaction": None}  # already
    answer = venue.said("resume")
    assert (answer["paused"], venue.chain.paused()) == (False, False)
    assert len(answer["transaction"]) == 66


def test_a_guardian_of_its_own_pauses_with_its_key(tmp_path: Path, url: str) -> None:
    guardian = fresh_key()
    venue = deployed(tmp_path, url, address_of(guardian))
    assert venue.chain.guardian() == address_of(guardian)
    with pytest.raises(ConfigError, match=address_hex(address_of(guardian))) as caught:
        venue.said("pause")
    assert caught.value.hint == "give the guardian's key with --key-file"
    assert not venue.chain.paused()
    file = tmp_path / "guardian.key"
    file.write_text(guardian.hex() + "\n")
    venue.chain.fund(address_of(guardian))
    assert venue.said("pause", "--key-file", str(file))["paused"]
    assert venue.chain.paused()


def test_the_operator_puts_the_next_guardian_into_office(tmp_path: Path, url: str) -> None:
    venue, guardian = deployed(tmp_path, url), address_of(fresh_key())
    with pytest.raises(ChainRefused, match="nothing was proposed"):
        venue.said("activate", group="committee")
    dealt = [Seat.load(member_home(tmp_path, i) / SEAT) for i in (1, 2, 3, 4)]
    propose(venue.chain, dealt, operator_key(tmp_path), guardian)
    with pytest.raises(ChainRefused, match="the delay has not passed"):
        venue.said("activate", group="committee")
    venue.chain.advance(DEFAULT_COMMITTEE_DELAY)
    answer = venue.said("activate", group="committee")
    assert (answer["epoch"], answer["block"]) == (2, venue.chain.head())
    assert venue.chain.guardian() == guardian
