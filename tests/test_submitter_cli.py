"""`darkpool settle`: what it lists, writes into a file, says of one, and brings to a vault on anvil."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from typer.testing import CliRunner

from darkpool.cli.app import app
from darkpool.eip712 import Domain, address_of, fresh_key
from darkpool.errors import (
    ChainRefused,
    ConfigError,
    DarkpoolError,
    OrderRefused,
    PeerFault,
    SettlementRefused,
)
from darkpool.keystore import Keystore
from darkpool.signed_settlement import SignedSettlement
from darkpool.store.records import SettlementRow, SettlementState
from darkpool.store.venue_store import Changes
from darkpool.types import Address, address_hex
from tests.anvil import running_anvil
from tests.api.serving import uvicorn_of
from tests.api.stand_in import StandIn, stand_in
from tests.vault_ground import MEMBERS, OPERATOR, STRANGER, WINDOW, Ground, ground

T = TypeVar("T")

PASSPHRASE = "correct horse"


@pytest.fixture(scope="module")
def own() -> Iterator[Ground]:
    """It mines a block for each transaction."""
    with ground() as made:
        yield made


def said(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["settle", *map(str, arguments)], env={"DARKPOOL_PASSPHRASE": PASSPHRASE})
    if done.exception is not None:
        raise done.exception
    return done.stdout


def answer(*arguments: str | Path) -> dict[str, Any]:
    return dict(json.loads(said(*arguments, "--json").splitlines()[-1]))


def refused(kind: type[DarkpoolError], *arguments: str | Path) -> DarkpoolError:
    with pytest.raises(kind) as caught:
        said(*arguments)
    return caught.value


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.hex"
    path.write_text(f"0x{STRANGER.hex()}\n")
    return path


def saved(signed: SignedSettlement, folder: Path) -> Path:
    path = folder / f"{signed.settlement.id}.settlement"
    path.write_bytes(signed.encode())
    return path


# --- a file and the vault ---------------------------------------------------------------------------


def test_a_stranger_submits_it_and_nobody_can_twice(own: Ground, tmp_path: Path, key: Path) -> None:
    signed = own.trade()
    file = saved(signed, tmp_path)
    assert answer("show", file, "--rpc", own.url)["verdict"] == "ready"
    first = answer("submit", file, "--rpc", own.url, "--key-file", key)
    assert (first["id"], first["already"]) == (signed.settlement.id, False)
    assert first["gas_used"] > 50_000
    assert own.settled(signed)
    again = answer("submit", file, "--rpc", own.url, "--key-file", key)
    assert again == {**first, "already": True}
    assert "settled already, block" in said("submit", file, "--rpc", own.url)  # needs no key
    assert answer("show", file, "--rpc", own.url)["verdict"] == "settled"
    assert own.settled(signed)


def test_the_keystore_pays_if_no_key_is_named(own: Ground, tmp_path: Path) -> None:
    signed, home = own.trade(), tmp_path / "home"
    home.mkdir(mode=0o700)
    keystore = Keystore.create(home / "keystore.json", PASSPHRASE)
    own.chain.fund(keystore.address)
    answer("submit", saved(signed, tmp_path), "--rpc", own.url, "--home", home)
    assert own.chain.evm.nonces(keystore.address) == (1, 1)
    assert own.settled(signed)


def test_who_cannot_pay_is_told_how_much_is_missing_before_anything_is_sent(
    own: Ground, tmp_path: Path
) -> None:
    poor, signed = fresh_key(), own.trade()
    path = tmp_path / "poor.hex"
    path.write_text(f"0x{poor.hex()}\n")
    path.chmod(0o600)
    error = refused(ChainRefused, "submit", saved(signed, tmp_path), "--rpc", own.url, "--key-file", path)
    assert f"gas: {address_hex(address_of(poor))} has 0.000000 ether" in error.message
    assert "ether or more to it" in error.hint
    assert own.chain.evm.nonces(address_of(poor)) == (0, 0)
    assert not own.settled(signed)


def test_what_a_file_holds_is_shown_without_a_node(own: Ground, tmp_path: Path) -> None:
    signed = own.trade()
    facts = answer("show", saved(signed, tmp_path))
    assert facts["signers"] == [address_hex(address_of(member)) for member in MEMBERS[:3]]
    assert (facts["accounts"], facts["deltas"], facts["nullifiers"]) == (2, 2, 1)
    assert facts["digest"] == "0x" + signed.digest.hex()
    assert "verdict" not in facts
    assert "credited" in said("show", saved(signed, tmp_path))


@pytest.mark.parametrize(
    "change, verdict, problem",
    [
        (lambda s: replace(s, signatures=s.signatures[:2]), "unsigned", "signatures: 2, must be 3"),
        (lambda s: replace(s, signatures=s.signatures[::-1]), "unsigned", "out of order"),
        (lambda s: altered(s, root=bytes(32)), "unsigned", "is not a member"),
        (lambda s: altered(s, epoch=2), "stale", "signed by the committee of epoch 2"),
    ],
)
def test_what_the_vault_would_not_take_is_refused_before_a_key_is_asked_for(
    own: Ground,
    tmp_path: Path,
    change: Callable[[SignedSettlement], SignedSettlement],
    verdict: str,
    problem: str,
) -> None:
    file = saved(change(own.trade()), tmp_path)
    assert answer("show", file, "--rpc", own.url)["verdict"] == verdict
    error = refused(SettlementRefused, "submit", file, "--rpc", own.url, "--home", tmp_path / "nobody")
    assert problem in error.message
    assert error.hint


def altered(signed: SignedSettlement, **changes: Any) -> SignedSettlement:  # noqa: ANN401 - fields
    return replace(signed, settlement=replace(signed.settlement, **changes))


def test_early_paused_and_expired(own: Ground, tmp_path: Path, key: Path) -> None:
    first, second = own.trade(), own.trade(ahead=1)
    file = saved(second, tmp_path)
    submit = ("submit", file, "--rpc", own.url, "--key-file", key)
    error = refused(SettlementRefused, *submit)
    assert error.message.endswith(f"id {second.settlement.id} waits for {first.settlement.id}")
    answer("submit", saved(first, tmp_path), "--rpc", own.url, "--key-file", key)
    own.chain.pause_settling(OPERATOR)
    assert "paused" in refused(SettlementRefused, *submit).message
    own.chain.resume_settling(OPERATOR)
    own.chain.advance(WINDOW + 60)
    assert "expired" in refused(SettlementRefused, *submit).message
    assert not own.settled(second)


def test_an_id_that_went_to_another(own: Ground, tmp_path: Path, key: Path) -> None:
    void, taken = own.trade(), own.trade()
    answer("submit", saved(taken, tmp_path), "--rpc", own.url, "--key-file", key)
    file = saved(void, tmp_path)
    error = refused(SettlementRefused, "submit", file, "--rpc", own.url, "--key-file", key)
    assert f"id {void.settlement.id} is settled already" in error.message
    assert answer("show", file, "--rpc", own.url)["verdict"] == "overtaken"


def test_another_chain_and_another_vault(own: Ground, tmp_path: Path) -> None:
    file = saved(own.trade(), tmp_path)
    with running_anvil("--chain-id", "7") as url:
        error = refused(ConfigError, "show", file, "--rpc", url)
    assert error.message == "chain: its id is 7, the settlement is for 31337"
    domain = Domain(31_337, Address(b"\x01" * 20))
    file = saved(replace(own.trade(), domain=domain), tmp_path)
    assert "no contract at" in refused(DarkpoolError, "submit", file, "--rpc", own.url).message


def test_a_vault_that_is_slow_is_given_up_and_gone_on_with(own: Ground, tmp_path: Path, key: Path) -> None:
    signed = own.trade()
    submit = ("submit", saved(signed, tmp_path), "--rpc", own.url, "--key-file", key, "--timeout", "1")
    own.hold_blocks()
    error = refused(DarkpoolError, *submit)
    assert "not in a block after 1 s" in error.message
    assert error.exit_code == 4
    assert not own.settled(signed)
    own.rpc("evm_setAutomine", True)
    own.mine()
    assert answer(*submit)["already"]
    assert own.settled(signed)


@pytest.mark.parametrize("data", [b"", b"{}", b"\0" * 64, bytes(1 << 20)])
def test_what_is_no_settlement(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x"
    file.write_bytes(data)
    assert str(file) in refused(ConfigError, "show", file).message


def test_a_file_that_is_not_there_and_a_key_that_is_none(own: Ground, tmp_path: Path) -> None:
    assert "not found" in refused(ConfigError, "show", tmp_path / "nothing").message
    wrong = tmp_path / "wrong"
    wrong.write_text("ab" * 31 + "zz")
    error = refused(
        ConfigError, "submit", saved(own.trade(), tmp_path), "--rpc", own.url, "--key-file", wrong
    )
    assert error.message == f"{wrong}: not 64 hexadecimal digits"


# --- the venue's list -------------------------------------------------------------------------------


def listed(venue: StandIn, *settlements: SignedSettlement, lie: bool = False) -> None:
    rows = [
        SettlementRow(
            bytes(32) if lie else signed.digest,
            signed.settlement.id,
            number,
            signed.encode(),
            1_800_000_000,
            signed.settlement.sealed_at,
            json.dumps([["03" * 32, number], ["03" * 32, number + 1]]),
            json.dumps([["0b" * 20, 1 << 70, 2], ["0c" * 20, 7, 0]]),
            SettlementState.PENDING,
        )
        for number, signed in enumerate(settlements, 1)
    ]
    venue.log(b"window")
    venue.log(b"window")
    venue.store.project(venue.tree.size, Changes(settlements=rows))


def at(folder: Path, do: Callable[[StandIn, str], T]) -> T:
    """What is done with a venue and its URL."""
    folder.mkdir()

    async def serve() -> T:
        venue = await asyncio.to_thread(stand_in, folder)
        try:
            async with uvicorn_of(venue) as (url, _):
                return await asyncio.to_thread(do, venue, url)
        finally:
            venue.store.database.close()

    return asyncio.run(serve())


def test_listed_saved_and_submitted(own: Ground, tmp_path: Path, key: Path) -> None:
    void, signed = own.trade(), own.trade()
    file = tmp_path / "it.settlement"

    def do(venue: StandIn, url: str) -> None:
        listed(venue, void, signed)
        rows = json.loads(said("list", "--venue", url, "--json"))
        assert [row["digest"] for row in rows] == ["0x" + s.digest.hex() for s in (signed, void)]
        assert (rows[0]["rounds"], rows[0]["rows"], rows[0]["state"]) == (2, 3, "pending")
        assert rows[0]["netting"] == f"{2**69:.2f} all"
        assert "Settlements" in said("list", "--venue", url)
        said("save", "0x" + void.digest.hex(), tmp_path / "void", "--venue", url)
        said("save", str(signed.settlement.id), file, "--venue", url)  # the latest of that id
        said("save", str(signed.settlement.id), file, "--venue", url)  # the same again
        error = refused(ConfigError, "save", "0x" + void.digest.hex(), file, "--venue", url)
        assert "exists already" in error.message
        assert "none of that id" in refused(OrderRefused, "save", "99", file, "--venue", url).message
        refused(OrderRefused, "save", "0x" + "01" * 32, file, "--venue", url)
        for wrong in ("0x12", "seven", "-1"):
            refused(ConfigError, "save", "--venue", url, "--", wrong, file)

    at(tmp_path / "venue", do)
    assert SignedSettlement.decode((tmp_path / "void").read_bytes()) == void
    assert answer("submit", file, "--rpc", own.url, "--key-file", key)["digest"] == "0x" + signed.digest.hex()
    assert own.settled(signed)


def test_a_settlement_that_is_not_signed_yet_is_not_saved(own: Ground, tmp_path: Path) -> None:
    signed = replace(own.trade(), signatures=())

    def do(venue: StandIn, url: str) -> None:
        listed(venue, signed)
        error = refused(OrderRefused, "save", str(signed.settlement.id), tmp_path / "x", "--venue", url)
        assert "not signed yet" in error.message

    at(tmp_path / "venue", do)
    assert not (tmp_path / "x").exists()


def test_a_venue_that_names_another_settlement_is_caught(own: Ground, tmp_path: Path) -> None:
    signed = own.trade()

    def do(venue: StandIn, url: str) -> None:
        listed(venue, signed, lie=True)
        error = refused(PeerFault, "save", str(signed.settlement.id), tmp_path / "x", "--venue", url)
        assert "not of the settlement it is listed as" in error.message

    at(tmp_path / "venue", do)


def test_a_venue_that_is_away_is_named_as_such(tmp_path: Path) -> None:
    error = refused(PeerFault, "list", "--venue", "http://127.0.0.1:1")
    assert error.message.startswith("venue: no answer")
    assert not list(tmp_path.iterdir())
