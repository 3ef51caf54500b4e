"""`darkpool member` and the deal: homes, introductions, seats; what does not belong together is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from darkpool.chain import Chain
from darkpool.cli.app import app
from darkpool.committee import joining
from darkpool.committee.directory import COMMITTEE, Directory
from darkpool.committee.home import KEYS, SEAT, SETTINGS, Home
from darkpool.committee.joining import INTRODUCTION
from darkpool.committee.seat import Seat
from darkpool.eip712 import address_of
from darkpool.errors import EXIT_PEER, EXIT_USAGE, ConfigError, DarkpoolError
from darkpool.house import deploy
from darkpool.netting import Signers
from darkpool.tenure_file import FIRST, NEXT, Planned
from darkpool.types import address_hex
from tests.anvil import running_anvil
from tests.fellowship import free_ports
from tests.venue_support import key_of

ROOT = Path(__file__).parents[1]
N = 3


def run(*words: str | Path) -> dict[str, Any]:
    """What the command prints with --json."""
    arguments = [*map(str, words), "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def refusal(*words: str | Path) -> DarkpoolError:
    with pytest.raises(DarkpoolError) as caught:
        CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    return caught.value


def init(home: Path, port: int) -> dict[str, Any]:
    return run("member", "init", home, "--host", "127.0.0.1", "--port", str(port))


@dataclass(frozen=True, slots=True)
class Dealt:
    """Homes of members 1 .. n, the dealer's folder, the venue's."""

    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "dealt"

    def home(self, index: int) -> Path:
        return self.folder / f"home-{index}"

    def sealed(self, index: int) -> Path:
        return self.out / f"seat-{index}.sealed"


def deal(folder: Path, out: str = "dealt", *more: str) -> dict[str, Any]:
    files = [folder / f"home-{i}" / INTRODUCTION for i in range(1, N + 1)]
    options = ("--data", folder / "venue", "--out", folder / out, "--profile", "insecure-test")
    return run("operator", "committee", "deal", *files, *options, *more)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Dealt:
    """A committee dealt twice to the same members; nobody has joined."""
    folder = tmp_path_factory.mktemp("ceremony")
    for index, port in enumerate(free_ports(N), 1):
        said = init(folder / f"home-{index}", port)
        assert len(said["fingerprint"]) == 64
    assert deal(folder)["code"] != deal(folder, "again")["code"]
    return Dealt(folder)


@pytest.fixture
def dealt(first: Dealt, tmp_path: Path) -> Dealt:
    shutil.copytree(first.folder, tmp_path / "copy")
    return Dealt(tmp_path / "copy")


def test_members_join_with_the_code_that_all_compare(dealt: Dealt) -> None:
    directory = Directory.load(dealt.out / COMMITTEE)
    for index in range(1, N + 1):
        said = run("member", "join", dealt.home(index), dealt.sealed(index), dealt.out / COMMITTEE)
        assert said == {"member": index, "members": N, "code": directory.code}
        seat = Seat.load(dealt.home(index) / SEAT)
        assert (seat.index, seat.signer) == (index, directory.member(index).signer)
        assert seat.committee == directory.committee
        again = run("member", "join", dealt.home(index), dealt.sealed(index), dealt.out / COMMITTEE)
        assert again == said
        assert Home.load(dealt.home(index)).signers == directory.signers


def test_secrets_are_their_owners_alone_and_in_no_public_file(dealt: Dealt) -> None:
    run("member", "join", dealt.home(1), dealt.sealed(1), dealt.out / COMMITTEE)
    keys = json.loads((dealt.home(1) / KEYS).read_text())
    seat = json.loads((dealt.home(1) / SEAT).read_text())
    assert seat["signing_key"] == keys["signing_key"]
    for name in ("tls.key", KEYS, SETTINGS, SEAT):
        assert (dealt.home(1) / name).stat().st_mode & 0o777 == 0o600
    assert dealt.home(1).stat().st_mode & 0o777 == 0o700
    public = [p.read_bytes() for p in (dealt.home(1) / INTRODUCTION, *dealt.out.iterdir())]
    secrets = [*keys.values(), seat["share"], *seat["masks"].values()]
    for secret in secrets:
        raw = bytes.fromhex(secret if len(secret) % 2 == 0 else "0" + secret)
        assert not any(secret.encode() in data or raw in data for data in public)


# Which sealed seat and committee.json member 1 gets; what is refused, with which exit code.
WRONG: dict[str, tuple[Callable[[Dealt], tuple[Path, Path]], int, str]] = {
    "another's seat": (
        lambda d: (d.sealed(2), d.out / COMMITTEE),
        EXIT_PEER,
        "not the dealer's for member 1",
    ),
    "a seat of another deal": (
        lambda d: (d.folder / "again" / "seat-1.sealed", d.out / COMMITTEE),
        EXIT_PEER,
        "not the dealer's for member 1",
    ),
    "another committee": (
        lambda d: (d.sealed(1), d.folder / "again" / COMMITTEE),
        EXIT_PEER,
        "not the dealer's for member 1",
    ),
    "no such file": (lambda d: (d.sealed(9), d.out / COMMITTEE), EXIT_USAGE, "No such file"),
    "no committee": (lambda d: (d.sealed(1), d.out / "x.json"), EXIT_USAGE, "No such file"),
    "the files in the wrong order": (lambda d: (d.out / COMMITTEE, d.sealed(1)), EXIT_PEER, "not JSON"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_belong_together_is_refused(dealt: Dealt, name: str) -> None:
    choose, code, words = WRONG[name]
    error = refusal("member", "join", dealt.home(1), *choose(dealt))
    assert words in error.message
    assert error.hint
    assert error.exit_code == code
    assert not (dealt.home(1) / SEAT).exists()
    assert not (dealt.home(1) / COMMITTEE).exists()


@pytest.mark.parametrize("position", [0, 64, 65, 96, 97, 200, -17, -1])
def test_a_sealed_seat_with_a_changed_byte_is_refused(dealt: Dealt, position: int) -> None:
    data = bytearray(dealt.sealed(1).read_bytes())
    data[position] ^= 1
    dealt.sealed(1).write_bytes(data)
    error = refusal("member", "join", dealt.home(1), dealt.sealed(1), dealt.out / COMMITTEE)
    assert (error.exit_code, error.message.startswith("dealer: sealed seat: ")) == (EXIT_PEER, True)
    assert not (dealt.home(1) / SEAT).exists()


@pytest.mark.parametrize("change", [lambda _: b"", lambda b: b[:60], lambda b: b[:-1], lambda b: b + b"\0"])
def test_a_sealed_seat_of_another_length_is_refused(dealt: Dealt, change: Callable[[bytes], bytes]) -> None:
    dealt.sealed(1).write_bytes(change(dealt.sealed(1).read_bytes()))
    error = refusal("member", "join", dealt.home(1), dealt.sealed(1), dealt.out / COMMITTEE)
    assert error.exit_code == EXIT_PEER


def test_a_home_that_is_not_in_the_committee_does_not_join(dealt: Dealt, tmp_path: Path) -> None:
    init(tmp_path / "stranger", 9)
    error = refusal("member", "join", tmp_path / "stranger", dealt.sealed(1), dealt.out / COMMITTEE)
    assert (error.exit_code, "not in it" in error.message) == (EXIT_USAGE, True)
    # Nor one whose introduction says something else by now.
    shutil.copy(dealt.home(2) / INTRODUCTION, dealt.home(1) / INTRODUCTION)
    error = refusal("member", "join", dealt.home(1), dealt.sealed(1), dealt.out / COMMITTEE)
    assert (error.exit_code, "not in it as introduction.json says" in error.message) == (EXIT_USAGE, True)


def test_a_seat_is_not_exchanged_for_one_that_does_not_follow(dealt: Dealt) -> None:
    run("member", "join", dealt.home(1), dealt.sealed(1), dealt.out / COMMITTEE)
    before = {path.name: path.read_bytes() for path in dealt.home(1).iterdir()}
    again = dealt.folder / "again"
    error = refusal("member", "join", dealt.home(1), again / "seat-1.sealed", again / COMMITTEE)
    assert "of key epoch 0, the present is 0" in error.message
    assert {path.name: path.read_bytes() for path in dealt.home(1).iterdir()} == before


def test_a_seat_under_the_next_key_waits_beside_the_present_one(dealt: Dealt) -> None:
    run("member", "join", dealt.home(1), dealt.sealed(1), dealt.out / COMMITTEE)
    before, present = (dealt.home(1) / SEAT).read_bytes(), Seat.load(dealt.home(1) / SEAT)
    following = dealt.folder / "next"
    code = deal(dealt.folder, "next", "--epoch", "1")["code"]
    for _ in range(2):  # repeated, the same
        said = run("member", "join", dealt.home(1), following / "seat-1.sealed", following / COMMITTEE)
        assert said == {"member": 1, "members": N, "code": code}
        assert (dealt.home(1) / SEAT).read_bytes() == before
    seat = Seat.load(dealt.home(1) / "seat.next.json")
    agreed, first = (Planned.load(dealt.home(1) / name) for name in (NEXT, FIRST))
    assert agreed is not None
    assert first is not None
    assert (agreed.tenure.key, agreed.tenure.key_epoch) == (seat.committee.key, 1)
    assert (first.tenure.key, first.tenure.key_epoch) == (present.committee.key, 0)
    assert first.tenure.signers == agreed.tenure.signers
    # Where it meets changes with the seat, not before.
    assert joining.directory_for(dealt.home(1), present).committee == present.committee
    assert joining.directory_for(dealt.home(1), seat).code == code
    assert Directory.load(dealt.home(1) / COMMITTEE).code == code


def test_a_home_comes_back_from_its_backup(
    dealt: Dealt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKPOOL_PASSPHRASE", "correct horse")
    run("member", "join", dealt.home(1), dealt.sealed(1), dealt.out / COMMITTEE)
    file, home = tmp_path / "1.backup", tmp_path / "again"
    made = run("member", "backup", dealt.home(1), file)
    assert (made["member"], made["epoch"]) == (1, 0)
    assert run("member", "restore", file, home) == made
    for name in (SEAT, KEYS, SETTINGS, COMMITTEE, INTRODUCTION, "tls.key", "tls.crt"):
        assert (home / name).read_bytes() == (dealt.home(1) / name).read_bytes()
    assert "of epoch 0" in refusal("member", "restore", file, tmp_path / "late", "--epoch", "1").message
    monkeypatch.setenv("DARKPOOL_PASSPHRASE", "another horse")
    assert "does not open it" in refusal("member", "restore", file, tmp_path / "wrong").message
    assert not (tmp_path / "wrong").exists()


def test_a_home_is_made_once_and_only_for_a_place_there_can_be(dealt: Dealt, tmp_path: Path) -> None:
    assert (
        "lives here already"
        in refusal("member", "init", dealt.home(1), "--host", "127.0.0.1", "--port", "9").message
    )
    for host in ("", "a b", "[::1]", "x" * 254):
        error = refusal("member", "init", tmp_path / "new", "--host", host, "--port", "9")
        assert (error.exit_code, error.message.startswith("--host")) == (EXIT_USAGE, True)
        assert not (tmp_path / "new").exists()


def test_a_deal_wants_whole_introductions_of_enough_different_members(dealt: Dealt) -> None:
    files = [dealt.home(i) / INTRODUCTION for i in range(1, N + 1)]
    words = ("operator", "committee", "deal")
    options = ("--data", dealt.folder / "venue", "--out", dealt.folder / "new", "--profile", "insecure-test")
    assert "2 introductions with threshold 1" in refusal(*words, *files[:2], *options).message
    assert "3 introductions with threshold 2" in refusal(*words, *files, *options, "--threshold", "2").message
    error = refusal(*words, *files, *(o if o != options[3] else dealt.out for o in options))
    assert (error.exit_code, "File exists" in error.message) == (EXIT_USAGE, True)
    assert not (dealt.folder / "new").exists()
    error = refusal(*words, files[0], files[1], files[1], *options)
    assert (error.exit_code, "two of the committee have the same one" in error.message) == (EXIT_PEER, True)
    changed = json.loads(files[2].read_text()) | {"port": 1}
    files[2].write_text(json.dumps(changed, indent=2) + "\n")
    error = refusal(*words, *files, *options)
    assert (error.exit_code, str(files[2]) in error.message) == (EXIT_PEER, True)


def test_commands_before_joining_say_what_is_missing(dealt: Dealt, tmp_path: Path) -> None:
    assert "join" in refusal("member", "follow", dealt.home(1), "--vault", "0x" + "11" * 20).hint
    assert "No such file" in refusal("member", "serve", dealt.home(1)).message
    assert "no member runs here" in refusal("member", "status", dealt.home(1)).message
    assert "no member runs here" in refusal("member", "status", tmp_path / "nowhere").message
    run("member", "join", dealt.home(1), dealt.sealed(1), dealt.out / COMMITTEE)
    assert "rpc-url" in refusal("member", "follow", dealt.home(1), "--vault", "0x" + "11" * 20).message


def test_a_member_follows_the_vault_of_its_own_committee_only(dealt: Dealt) -> None:
    run("member", "join", dealt.home(1), dealt.sealed(1), dealt.out / COMMITTEE)
    run("member", "join", dealt.home(2), dealt.sealed(2), dealt.out / COMMITTEE)
    signers = Directory.load(dealt.out / COMMITTEE).signers
    with running_anvil() as url:
        chain, operator = Chain.rpc(url, 0), key_of("operator")
        deploy(chain, signers, operator)
        follow = ("member", "follow", dealt.home(1), "--rpc-url", url, "--finality", "0", "--vault")
        said = run(*follow, address_hex(chain.vault))
        assert said == {"vault": address_hex(chain.vault), "chain_id": chain.chain_id}
        assert Home.load(dealt.home(1)).vault == chain.vault
        others = {index: address_of(key_of(name)) for index, name in enumerate("abc", 1)}
        deploy(chain, Signers(1, others), operator)
        error = refusal(*follow, address_hex(chain.vault))
        assert (error.exit_code, "another committee" in error.message) == (EXIT_USAGE, True)
    home = Home.load(dealt.home(1))
    assert home.vault != chain.vault
    with pytest.raises(ConfigError, match="does not know the vault"):
        Home(home.signers, "http://127.0.0.1:1").chain()


@contextmanager
def served(home: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "from darkpool.cli import main; main()", "member", "serve", str(home)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def status(home: Path, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    ends = time.monotonic() + 30
    while True:
        try:
            found = run("member", "status", home)
            if until(found):
                return found
        except ConfigError:
            pass
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.slow
def test_members_serve_until_they_are_told_to_end(dealt: Dealt) -> None:
    for index in (1, 2):
        run("member", "join", dealt.home(index), dealt.sealed(index), dealt.out / COMMITTEE)
    with served(dealt.home(1)) as one, served(dealt.home(2)):
        met = status(dealt.home(2), lambda s: s["links"]["member 1"] == "connected")
        assert (met["member"], met["size"], met["evaluator"]) == (2, 0, False)
        assert met["links"]["member 3"] == "has not connected"
        assert status(dealt.home(1), lambda _: True)["links"]["member 2"] == "connected"
        assert "runs already" in refusal("member", "serve", dealt.home(1)).message
        shown = CliRunner().invoke(app, ["member", "status", str(dealt.home(1))])
        assert "member 2: connected" in shown.output
        one.send_signal(signal.SIGTERM)
        out, _ = one.communicate(timeout=30)
        assert one.returncode == 0
        assert out.startswith("member 1 at 127.0.0.1:")
        gone = status(dealt.home(2), lambda s: s["links"]["member 1"] != "connected")
        assert gone["links"]["member 1"] == "does not listen (Connection refused)"
