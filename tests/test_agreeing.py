"""A member's owner agrees to a replacement if it changes nothing else; a successor takes its place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from darkpool.committee.agreeing import BEFORE
from darkpool.committee.certificate import Identity
from darkpool.committee.directory import COMMITTEE, Directory
from darkpool.committee.home import SEAT, Home, Keys
from darkpool.committee.introduction import Introduction
from darkpool.committee.joining import INTRODUCTION
from darkpool.committee.seat import Seat
from darkpool.committee.staging import stage, withdraw
from darkpool.eip712 import address_of
from darkpool.errors import EXIT_PEER, EXIT_USAGE
from darkpool.tenure import Tenure
from darkpool.tenure_file import FIRST, NEXT, Planned
from darkpool.types import address_hex
from tests.fellowship import free_ports
from tests.test_member_cli import Dealt, N, deal, init, refusal, run
from tests.venue_support import key_of

GUARDIAN = address_hex(address_of(key_of("guardian")))


@dataclass(frozen=True, slots=True)
class Replacing:
    """Members 1 and 2 of a committee; erin, with a home of her own, comes for member 3."""

    dealt: Dealt

    @property
    def erin(self) -> Path:
        return self.dealt.folder / "erin"

    @property
    def committee(self) -> Path:
        return self.dealt.folder / COMMITTEE

    @property
    def plan(self) -> Path:
        return self.dealt.folder / NEXT

    @property
    def began(self) -> Path:
        return self.dealt.folder / FIRST

    def write(self, directory: Directory, key_epoch: int = 1, **changes: object) -> None:
        """committee.json, and the plan for it with other fields."""
        self.committee.write_bytes(directory.encode())
        tenure = Tenure(directory.signers, directory.committee.key, key_epoch)
        self.plan.write_text(json.dumps(json.loads(Planned(tenure).encode()) | changes))

    @property
    def agree(self) -> tuple[str | Path, ...]:
        return ("member", "agree", self.dealt.home(1), self.committee, self.plan)

    @property
    def succeed(self) -> tuple[str | Path, ...]:
        return ("member", "succeed", self.erin, self.committee, self.began)


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agreeing")
    made = Replacing(Dealt(folder))
    for index, port in enumerate(free_ports(N), 1):
        init(made.dealt.home(index), port)
    deal(folder)
    for index in (1, 2):
        run("member", "join", made.dealt.home(index), made.dealt.sealed(index), made.dealt.out / COMMITTEE)
    init(made.erin, 9)
    present = Directory.load(made.dealt.out / COMMITTEE)
    made.began.write_text(Planned(Tenure(present.signers, present.committee.key)).encode())
    return folder


@pytest.fixture
def replacing(joined: Path, tmp_path: Path) -> Replacing:
    shutil.copytree(joined, tmp_path / "copy")
    made = Replacing(Dealt(tmp_path / "copy"))
    words = ("operator", "committee", "replace", made.dealt.out / COMMITTEE, "3", made.erin / INTRODUCTION)
    run(*words, "--out", made.committee)
    made.write(Directory.load(made.committee))
    return made


def contents(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.iterdir()}


def test_members_agree_and_the_successor_takes_its_place(replacing: Replacing) -> None:
    home, code = replacing.dealt.home(1), Directory.load(replacing.committee).code
    before = (home / COMMITTEE).read_bytes()
    signers = Home.load(home).signers
    for replaced in ([3], []):  # repeated, nothing changes
        said = run(*replacing.agree)
        assert said == {"code": code, "key_epoch": 1, "replaced": replaced, "guardian": ""}
        assert (home / COMMITTEE).read_bytes() == replacing.committee.read_bytes()
        assert (home / BEFORE).read_bytes() == before
    plan, began = Planned.load(home / NEXT), Planned.load(home / FIRST)
    assert plan == Planned.load(replacing.plan)
    assert began == Planned.load(replacing.began)
    assert Home.load(home).signers == signers  # with whom its copy of the log begins
    for _ in range(2):
        assert run(*replacing.succeed) == {"member": 3, "members": N, "code": code}
    assert not (replacing.erin / SEAT).exists()
    assert Home.load(replacing.erin).signers == signers


def test_nothing_is_agreed_to_while_a_seat_is_staged(replacing: Replacing) -> None:
    """It was made for those who were agreed on before."""
    home = replacing.dealt.home(1)
    seat = Seat.load(home / SEAT)
    stage(replace(seat, committee=replace(seat.committee, epoch=1)), home / SEAT)
    before = contents(home)
    assert "staged already" in str(refusal(*replacing.agree))
    assert contents(home) == before
    withdraw(home / SEAT)
    assert run(*replacing.agree)["replaced"] == [3]


Change = Callable[[Replacing, Directory], None]


def _moved(directory: Directory, home: Path, index: int) -> Directory:
    """That member with the same signer at another place."""
    keys, identity = Keys.load(home), Identity.load(home)
    made = Introduction.signed("127.0.0.9", 9, identity.certificate, keys.box.public, keys.signing_key)
    members = [*directory.members]
    members[index - 1] = made
    return replace(directory, members=tuple(members))


def _poses(made: Replacing, directory: Directory) -> None:
    made.write(_moved(directory, made.dealt.home(2), 2))


def _moves_me(made: Replacing, directory: Directory) -> None:
    made.write(_moved(directory, made.dealt.home(1), 1))


def _another_goes_too(made: Replacing, directory: Directory) -> None:
    """committee.json says more than the plan."""
    plan = made.plan.read_text()
    init(made.dealt.folder / "fay", 10)
    fay = Introduction.parse((made.dealt.folder / "fay" / INTRODUCTION).read_bytes())
    made.write(directory.replaced(2, fay))
    made.plan.write_text(plan)


def _key(made: Replacing, directory: Directory) -> None:
    said = deal(made.dealt.folder, "again")["committee"]
    made.write(replace(directory, committee=Directory.load(Path(said)).committee))


def _values(made: Replacing, directory: Directory) -> None:
    committee = directory.committee
    made.write(replace(directory, committee=replace(committee, values=committee.values[::-1])))


def _venue(made: Replacing, directory: Directory) -> None:
    (made.dealt.folder / "other").mkdir(mode=0o700)
    made.write(replace(directory, coordinator=Identity.create(made.dealt.folder / "other").certificate))


def _members_swapped(made: Replacing, directory: Directory) -> None:
    one, two, three = directory.members
    made.write(replace(directory, members=(two, one, three)))


WRONG: dict[str, tuple[Change, int, str]] = {
    "another at his place": (_poses, EXIT_USAGE, r"members \[2\] sign as before, with another certificate"),
    "me at another place": (_moves_me, EXIT_USAGE, "not in it as introduction.json says"),
    "me at another index": (_members_swapped, EXIT_USAGE, "this is member 1, and 2 in it"),
    "more than the plan": (_another_goes_too, EXIT_USAGE, "its members, threshold or key are not those"),
    "another key": (_key, EXIT_USAGE, "its key, threshold or verification values"),
    "other verification values": (_values, EXIT_USAGE, "its key, threshold or verification values"),
    "another venue": (_venue, EXIT_USAGE, "another venue's certificate"),
    "another guardian": (lambda m, d: m.write(d, guardian=GUARDIAN), EXIT_USAGE, "guardian becomes"),
    "the present epoch": (lambda m, d: m.write(d, 0), EXIT_USAGE, "key epoch 0; 1 is next"),
    "a later epoch": (lambda m, d: m.write(d, 2), EXIT_USAGE, "key epoch 2; 1 is next"),
    "no plan": (lambda m, _: void(m.plan.write_text("{}")), EXIT_PEER, NEXT),
    "no committee": (lambda m, _: void(m.committee.write_text("{}")), EXIT_PEER, COMMITTEE),
    "no file": (lambda m, _: m.plan.unlink(), EXIT_USAGE, "No such file"),
}


def void(_: Any) -> None:  # noqa: ANN401
    """Nothing of whatever that is."""


@pytest.mark.parametrize("name", WRONG)
def test_nothing_else_is_agreed_to(replacing: Replacing, name: str) -> None:
    change, code, words = WRONG[name]
    home = replacing.dealt.home(1)
    before = contents(home)
    change(replacing, Directory.load(replacing.committee))
    error = refusal(*replacing.agree)
    assert error.exit_code == code
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(error.message)
    assert error.hint
    assert contents(home) == before


def test_another_venue_or_guardian_only_if_that_is_said(replacing: Replacing) -> None:
    directory = Directory.load(replacing.committee)
    _venue(replacing, directory)
    replacing.write(Directory.load(replacing.committee), guardian=GUARDIAN)
    assert run(*replacing.agree, "--yes")["guardian"] == GUARDIAN


def test_a_successor_has_a_place_a_beginning_and_no_seat(replacing: Replacing) -> None:
    before = contents(replacing.erin)
    words = ("member", "succeed")
    for home, problem in (
        (replacing.dealt.home(1), "it has a seat already"),
        (replacing.dealt.home(3), "not in it"),
        (replacing.dealt.folder, "No such file"),
    ):
        assert problem in refusal(*words, home, replacing.committee, replacing.began).message
    later = json.loads(replacing.began.read_text())
    for text in ("{}", json.dumps(later | {"key_epoch": 1}), replacing.committee.read_text()):
        replacing.began.write_text(text)
        error = refusal(*replacing.succeed)
        assert (error.exit_code, FIRST in error.message) == (EXIT_PEER, True)
    assert contents(replacing.erin) == before
    replacing.began.write_text(json.dumps(later))
    run(*replacing.succeed)
    other = later | {"members": later["members"] | {"3": GUARDIAN}}
    replacing.began.write_text(json.dumps(other))
    assert "another one already" in refusal(*replacing.succeed).message


def test_a_home_without_a_seat_says_so(replacing: Replacing) -> None:
    assert "No such file" in refusal("member", "serve", replacing.erin).message
    run(*replacing.succeed)
    assert (
        "seat.json"
        in refusal(*("member", "agree", replacing.erin), replacing.committee, replacing.plan).message
    )


def test_replace_writes_a_new_file_of_members_that_differ(replacing: Replacing, tmp_path: Path) -> None:
    words = ("operator", "committee", "replace", replacing.dealt.out / COMMITTEE)
    erin = replacing.erin / INTRODUCTION
    assert "there is a file already" in refusal(*words, "3", erin, "--out", replacing.committee).message
    assert "not from 1 to 3" in refusal(*words, "4", erin, "--out", tmp_path / "x").message
    error = refusal(*words, "3", replacing.dealt.home(1) / INTRODUCTION, "--out", tmp_path / "x")
    assert (error.exit_code, "two of the committee" in error.message) == (EXIT_PEER, True)
    assert not (tmp_path / "x").exists()


def test_a_newcomer_under_a_later_key_needs_to_know_whom_the_venue_began_with(replacing: Replacing) -> None:
    deal(replacing.dealt.folder, "later", "--epoch", "3")
    out, home = replacing.dealt.folder / "later", replacing.dealt.home(3)
    words = ("member", "join", home, out / "seat-3.sealed", out / COMMITTEE)
    error = refusal(*words)
    assert ("of key epoch 3" in error.message, "--first" in error.hint) == (True, True)
    assert not (home / SEAT).exists()
    run(*words, "--first", replacing.began)
    assert Planned.load(home / FIRST) == Planned.load(replacing.began)
