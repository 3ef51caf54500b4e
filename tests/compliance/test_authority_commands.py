"""Policy disclosure from the ceremony to the opened orders, by the commands, at a real venue."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from string import Template
from typing import Any

import pytest
from typer.testing import CliRunner

from api.app import create_app
from commitments.group import Point
from compliance import authority, log_table
from compliance.auditor_client import auditor_of
from compliance.authority import Authority, Member
from compliance.authority_answer import SealedAnswer, signed
from compliance.disclosure import NamedAuditor
from compliance.policy_parse import parse_config
from compliance.predicate_file import PredicateFile
from darkpool.cli.app import app
from darkpool.cli.times import day_text
from darkpool.client.venue_api import VenueRefused
from darkpool.errors import ConfigError, DarkpoolError, OrderRefused, PeerFault
from darkpool.keystore import INSECURE_TEST, Keystore
from darkpool.types import address_hex
from tests.client.plain_venue import PASSPHRASE, PlainVenue, plain_venue
from tests.client.serving import served
from tests.client.test_trading import buy, sell
from tests.compliance.disclosing import (
    DAY_SECONDS,
    Disclosing,
    auditor_keystore,
    disclosing,
    grantor,
    later,
)
from tests.compliance.policy_case import ceremony

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "policy-disclosure.md"
DELAY = 5 * 3_600
REFERENCE = "Order of 3 March, file 7/2031"


@dataclass
class Case:
    """Ann's day: one order from before the policy, two since. Eve is the policy's auditor."""

    at: Disclosing
    url: str
    folder: Path
    eve: Keystore
    ann: str
    today: int
    runner: asyncio.Runner

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def audit(self, *words: str, code: int = 0, home: bool = True) -> str:
        at = ["--home", self.path("eve")] if home else []
        return command(self.runner, "audit", *words, *at, code=code)

    def deal(self, out: str, *words: str) -> str:
        names = ("--name", "examiner", "--auditor", auditor_of(self.eve).export(), "--venue", self.url)
        text = ("authority", "deal", *names, "--out", self.path(out), *words)
        return self.audit(*text, home=False)

    def query(self, out: str, *words: str, code: int = 1) -> str:
        day = day_text(self.today)
        scope = ("--account", self.ann, "--from", day, "--to-day", day, "--reference", REFERENCE)
        public = ("--authority", self.path("deal/public.json"), "--venue", self.url)
        return self.audit("policy-query", *public, *scope, "--out", self.path(out), *words, code=code)

    def answer(self, member: int, out: str, request: str = "case.request", code: int = 0) -> str:
        share = ("--share", self.path(f"deal/member-{member}.share"), "--out", self.path(out), "--yes")
        return self.audit("authority", "answer", self.path(request), *share, home=False, code=code)

    def combine(self, *answers: str, code: int = 1, form: str = "json") -> str:
        public = ("--authority", self.path("deal/public.json"), "--format", form)
        files = (word if word.startswith(("-", "/")) else self.path(word) for word in answers)
        return self.audit("authority", "combine", self.path("case.request"), *files, *public, code=code)


def command(runner: asyncio.Runner, *words: str, code: int) -> str:
    """A command, in a thread of this process, while the venue serves; what it prints."""
    environment = {"DARKPOOL_PASSPHRASE": PASSPHRASE, "COLUMNS": "80"}
    work: Callable[[], Any] = lambda: CliRunner().invoke(app, list(words), env=environment)  # noqa: E731
    done = runner.run(asyncio.to_thread(work))
    if isinstance(done.exception, DarkpoolError):
        raise done.exception
    assert done.exit_code == code, done.output
    found: str = done.stdout
    return found


async def traded(v: PlainVenue, at: Disclosing, key: Point) -> str:
    """Before the policy, under it, and on the next day, which closes this one."""
    through: dict[str, Any] = {"transport": at.transport}
    async with v.trader("ann", **through) as ann, v.trader("bob", **through) as bob:
        await v.deposit(ann)
        await v.deposit(bob)
        await ann.submit(buy("1"))
        await bob.submit(sell("1"))
        await v.close_round()
        v.view.terms = replace(v.view.terms, auditor_keys=(key,))
        await v.engine.add_market(v.view.terms)
        await v.open_round()
        await ann.submit(buy("0.3", "1998.50"))
        await ann.submit(sell("0.25", "2001.30"))
        await bob.submit(sell("0.2", "2001.00"))
        await v.close_round()
        with later(DAY_SECONDS + 300):
            await v.threads.chain(v.chain.advance, DAY_SECONDS + 400)
            await v.engine.follow_chain()
            await v.open_round()
            await ann.submit(buy("0.1", "1999.00"))
            await bob.submit(sell("0.1", "2001.00"))
            await v.close_round()
        return address_hex(ann.address)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("case")
    real = Keystore.open.__func__  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patched, asyncio.Runner() as runner:
        opened = classmethod(lambda cls, path, word, **_: real(cls, path, word, allow_insecure_test=True))
        patched.setattr(Keystore, "open", opened)
        patched.setattr(authority, "STANDARD", INSECURE_TEST)
        patched.setattr(log_table, "load_table", partial(log_table.load_table, bits=16))
        patched.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        stack = AsyncExitStack()
        v = runner.run(stack.enter_async_context(plain_venue(folder)))
        at = disclosing(v)
        eve = auditor_keystore(folder / "eve")
        with later(DAY_SECONDS - time.time() % DAY_SECONDS + 3_600):
            today = int(time.time()) // DAY_SECONDS
            url = runner.run(stack.enter_async_context(served(create_app(v.venue, serving=at.service))))
            found = Case(at, url, folder, eve, "", today, runner)
            found.deal("deal", "--title", "The examiner", "--members", "3", "--threshold", "1")
            key = Authority.load(folder / "deal" / "public.json").sharing.key
            found.ann = runner.run(traded(v, at, key))
            at.service.auditors["examiner"] = NamedAuditor(eve.address, DELAY)
            with later(DAY_SECONDS + 900):
                found.query("case.request", "--save", str(folder / "case.audit"))
                for member in (1, 2, 3):
                    found.answer(member, f"case.{member}")
                yield found
                runner.run(stack.aclose())


# --- the whole way --------------------------------------------------------------------------------------


def test_two_authorities_open_the_orders_of_the_lists(case: Case) -> None:
    view = json.loads(case.combine("case.3", "case.1"))
    rows = [(r["side"], r["quantity"], r["limit"], r["state"]) for r in view["opened"]]
    assert rows == [
        ("buy", "0.3", "1998.50", "opened"),
        ("sell", "0.25", "2001.30", "opened"),
        (None, None, None, "no handle"),
    ]
    assert (view["legal_reference"], view["account"], view["false"]) == (REFERENCE, case.ann, [])
    table = case.combine("case.2", "case.1", form="table")
    assert "1998.50" in table
    assert "1 orders carry no handle" in table
    assert max(map(len, table.partition("Orders")[2].splitlines())) <= 80
    sheet = list(csv.DictReader(io.StringIO(case.combine("case.2", "case.3", form="csv"))))
    assert [row["quantity"] for row in sheet] == ["0.3", "0.25", ""]
    assert (case.folder / "cache" / "darkpool" / "logarithms.table").exists()


def test_the_whole_audit_rests_on_what_they_opened(case: Case) -> None:
    """But for the order without a handle, and the chain, which no node was asked about."""
    words = ("--audit", case.path("case.audit"))
    view = json.loads(case.combine("case.3", "case.1", *words))["audit"]
    results = {row["check"]: row["result"] for row in view["checks"]}
    open_points = {"orders", "fills", "chain", *(name for name in results if name.startswith("order 0x"))}
    assert {name for name, result in results.items() if result != "holds"} == open_points
    assert results["handles"] == "holds"
    shown = [(o["side"], o["quantity"], o["limit"], o["filled"]) for o in view["orders"]]
    assert shown == [("buy", "0.3", "1998.50", "0"), ("sell", "0.25", "2001.30", "0")]
    table = case.combine("case.3", "case.1", *words, form="table")
    assert "2 orders opened" in table


def test_the_account_sees_the_query_only_after_the_delay(case: Case) -> None:
    async def seen() -> list[Any]:
        v = case.at.venue
        async with v.trader("ann", transport=case.at.transport, read_only=True) as ann:
            giving = grantor(ann, v.committee.keystores[ann.address])
            found: list[Any] = await ann._run(giving.accesses())
            return found

    with later(DELAY - 60):
        assert case.runner.run(seen()) == []
    with later(DELAY + 60):
        (access,) = [a for a in case.runner.run(seen()) if a.outcome == "answered"]
    assert (access.authority, access.legal_reference) == ("examiner", REFERENCE)


def test_what_is_asked_and_answered_is_said(case: Case) -> None:
    said = json.loads(case.query("again.request", "--json"))
    assert (said["orders"], said["without_handle"], said["open"]) == (2, 1, [])
    share = ("--share", case.path("deal/member-1.share"), "--out", case.path("again.1"))
    words = ("authority", "answer", case.path("again.request"), *share)
    with pytest.raises(ConfigError, match="no terminal to ask at"):
        case.audit(*words, home=False)
    assert not (case.folder / "again.1").exists()
    said = json.loads(case.audit(*words, "--yes", "--json", home=False))
    assert (said["member"], said["legal_reference"]) == (1, REFERENCE)
    with pytest.raises(OrderRefused, match="to another request"):
        case.combine("case.2", "again.1")


def test_a_liar_is_named_and_a_missing_answer_too(case: Case) -> None:
    member = Member.load(case.folder / "deal" / "member-2.share", PASSPHRASE)
    made = SealedAnswer.decode((case.folder / "case.2").read_bytes())
    lie = signed(member, replace(made, boxes=(bytes(len(made.boxes[0])),)))
    (case.folder / "lie.2").write_bytes(lie.encode())
    view = json.loads(case.combine("case.1", "lie.2", "case.3", code=3))
    assert view["false"] == [2]
    assert view["opened"][0]["quantity"] == "0.3"
    with pytest.raises(PeerFault, match="authority 2"):
        case.combine("case.1", "lie.2")
    for few in (("case.1",), ("case.1", "case.1")):
        with pytest.raises(OrderRefused, match="of 1/2 authorities"):
            case.combine(*few)
    (case.folder / "cut.1").write_bytes((case.folder / "case.1").read_bytes()[:-1])
    with pytest.raises(OrderRefused, match="answer, signature"):
        case.combine("case.2", "cut.1")


def test_a_changed_request_gets_no_answer(case: Case) -> None:
    raw = bytearray((case.folder / "case.request").read_bytes())
    raw[-1] ^= 1
    (case.folder / "bad.request").write_bytes(bytes(raw))
    with pytest.raises(OrderRefused, match="request, signature"):
        case.answer(1, "bad.1", "bad.request")
    with pytest.raises(ConfigError, match="not found"):
        case.answer(1, "bad.1", "missing.request")


def test_only_the_auditor_of_the_policy_may_ask(case: Case) -> None:
    named = case.at.service.auditors.pop("examiner")
    try:
        with pytest.raises(VenueRefused, match="is not auditor 'examiner' of the policy"):
            case.query("other.request")
    finally:
        case.at.service.auditors["examiner"] = named
    assert not (case.folder / "other.request").exists()
    auditor_keystore(case.folder / "mal")
    day = day_text(case.today)
    scope = ("--account", case.ann, "--from", day, "--to-day", day, "--reference", "x")
    words = ("policy-query", "--authority", case.path("deal/public.json"), *scope)
    home = ("--home", case.path("mal"), "--out", case.path("mal.request"), "--venue", case.url)
    with pytest.raises(ConfigError, match="answer another auditor"):
        case.audit(*words, *home, home=False)


def guide_steps() -> Iterator[tuple[str, str]]:
    """Each command with the answer below it."""
    for block in re.findall(r"^```console\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, answer = step.partition("\n")
            yield line, answer


def test_every_command_of_the_guide_answers_as_it_says(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, source in (("auditor", "eve"), ("account", "home-ann"), ("verifier", "verifier")):
        (case.folder / source).mkdir(mode=0o700, exist_ok=True)
        (tmp_path / name).symlink_to(case.folder / source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKPOOL_VENUE_URL", case.url)
    values = {"AUDITOR": auditor_of(case.eve).export(), "ACCOUNT": case.ann, "DAY": day_text(case.today)}
    steps = list(guide_steps())
    for line, answer in steps:
        words = shlex.split(Template(line).substitute(values))[1:]
        work = partial(CliRunner().invoke, app, words, env={"DARKPOOL_PASSPHRASE": PASSPHRASE})
        done = case.runner.run(asyncio.to_thread(work))
        assert not isinstance(done.exception, DarkpoolError), f"{line}\n{done.exception!r}"
        pattern = ".+".join(map(re.escape, answer.strip().split("…")))
        shown = done.stdout if " combine " in line else done.output  # the table may be made, or be there
        found, due = (re.sub(r" +", " ", text.strip()) for text in (shown, pattern.replace("\\ ", " ")))
        assert re.fullmatch(due, found, re.DOTALL), f"{line}\n{done.output}"
        if "authority deal" in line:  # orders were sealed under the key of the other ceremony
            for file in (case.folder / "deal").iterdir():
                shutil.copy2(file, tmp_path / "ceremony" / file.name)
    assert len(steps) == GUIDE.read_text().count("\n$ ")


# --- bounds, with nothing opened --------------------------------------------------------------------------


def prove(case: Case, out: str, *words: str, home: str = "home-ann", code: int = 0) -> str:
    day = day_text(case.today)
    scope = ("--from", day, "--to-day", day, "--purpose", "position limit", "--venue", case.url)
    files = ("--home", case.path(home), "--out", case.path(out))
    return command(case.runner, "disclose", "prove", *scope, *files, *words, code=code)


def check(case: Case, name: str, code: int = 0) -> str:
    home = ("--home", case.path("verifier"), "--venue", case.url)
    return command(case.runner, "audit", "check", case.path(name), *home, code=code)


def test_an_account_proves_bounds_and_anybody_checks_them(case: Case) -> None:
    limits = ("--max-buy", "1.3", "--max-sell", "0.3", "--net-low", "-0.5", "--net-high", "1.05")
    said = json.loads(prove(case, "all.proof", *limits, "--json"))
    assert (len(said["orders"]), said["complete"]) == (3, True)
    told = check(case, "all.proof")
    assert "they were to buy at most 1.3 WETH, so no more was bought by them" in told
    assert "is at least -0.5 WETH and at most 1.05 WETH" in told
    assert told.index("Proven:") < told.index("Not proven:") < told.index("how much traded")
    assert not any(amount in told for amount in ("0.25", "1998"))


@pytest.mark.parametrize(
    "bound,error",
    [
        (("--max-buy", "1.29"), "max_buy: the orders do not satisfy it"),
        (("--max-sell", "0.24"), "max_sell: the orders do not satisfy it"),
        (("--net-low", "1.06"), "net_low: the orders do not satisfy it"),
        (("--net-high", "1.04"), "net_high: the orders do not satisfy it"),
        ((), "bounds: none is given"),
        (("--net-low", "2", "--net-high", "1"), "net_low: above net_high"),
        (("--max-buy", "-1"), "max_buy: outside"),
        (("--max-buy", "1.2345678"), "max-buy"),
        (("--max-buy", "much"), "max-buy"),
        (("--max-buy", "--1"), "max-buy"),
    ],
)
def test_what_is_not_so_is_not_proven(case: Case, bound: tuple[str, ...], error: str) -> None:
    with pytest.raises(DarkpoolError, match=error):
        prove(case, "false.proof", *bound)
    assert not (case.folder / "false.proof").exists()


def test_a_proof_over_other_orders_or_bounds_is_refused(case: Case) -> None:
    prove(case, "true.proof", "--max-buy", "1.3")
    given = PredicateFile.decode((case.folder / "true.proof").read_bytes())
    p, today = given.predicate, case.today
    for bad, problem in (
        (replace(given, proof=replace(given.proof, predicate=replace(p, orders=p.orders[1:]))), "omits it"),
        (replace(given, proof=replace(given.proof, predicate=replace(p, max_buy=9))), "does not hold"),
        (replace(given, last_day=today + 1), "omits it"),
    ):
        (case.folder / "bad.proof").write_bytes(bad.encode())
        with pytest.raises(OrderRefused, match=problem):
            check(case, "bad.proof")


def test_days_that_are_not_over_are_said_to_be_open(case: Case) -> None:
    day = day_text(case.today + 1)
    scope = ("--from", day, "--to-day", day, "--purpose", "today", "--max-buy", "9", "--venue", case.url)
    files = ("--home", case.path("home-ann"), "--out", case.path("today.proof"))
    told = command(case.runner, "disclose", "prove", *scope, *files, code=1)
    assert "that there are no others: a list of these days may still follow" in told
    assert "a list of these days may still follow" in check(case, "today.proof", code=1)


# --- the ceremony ---------------------------------------------------------------------------------------


def test_the_table_goes_into_a_policy(case: Case) -> None:
    table = case.deal("single", "--title", "The examiner of the venue")
    found = Authority.load(case.folder / "single" / "public.json")
    text = f"""
[policy]
id = "p"
version = 1
note = "Now."
markets = ["WETH-USDC"]
credentials = false
{table}
[[allow]]
id = "all"
reason = "All."
markets = ["*"]
[[disclosure]]
id = "duty"
reason = "By law."
auditors = ["examiner"]
visible_after_hours = 720
"""
    (auditor,) = parse_config("policy.toml", text.encode()).auditors
    assert (auditor.name, auditor.key) == ("examiner", found.sharing.key)
    assert (auditor.account, auditor.proof) == (case.eve.address, found.registration)
    assert len(found.sharing.verification_keys) == 1
    shown = case.audit("authority", "show", case.path("single/public.json"), home=False)
    assert "1 of 1 authorities read together" in shown
    shown = case.audit("authority", "show", case.path("deal/member-2.share"), home=False)
    assert "share of member 2" in shown
    with pytest.raises(ConfigError, match="exists already"):
        case.deal("single")
    with pytest.raises(ConfigError, match="threshold: 2 of 2 members"):
        case.deal("more", "--members", "2", "--threshold", "2")


def test_each_member_has_its_own_passphrase(case: Case) -> None:
    words = []
    for i in (1, 2):
        (case.folder / f"word-{i}").write_text(f"the secret of member {i}\n")
        words += ["--passphrase-file", case.path(f"word-{i}")]
    case.deal("own", "--members", "2", "--threshold", "1", *words)
    for i in (1, 2):
        member = Member.load(case.folder / "own" / f"member-{i}.share", f"the secret of member {i}")
        assert member.share.index == i
    with pytest.raises(ConfigError, match="does not open it"):
        Member.load(case.folder / "own" / "member-1.share", "the secret of member 2")
    with pytest.raises(ConfigError, match="passphrases: 2 for 3 members"):
        case.deal("three", "--members", "3", "--threshold", "1", *words)


def test_a_ceremony_that_fails_leaves_nothing(case: Case) -> None:
    (case.folder / "short").write_text("short\n")
    words = ("--passphrase-file", case.path("word"), "--passphrase-file", case.path("short"))
    (case.folder / "word").write_text("long enough a secret\n")
    for bad, problem in (
        (("--members", "2", "--threshold", "1", *words), "passphrase: 5 bytes"),
        (("--title", "two\nlines"), "title"),
        (("--title", "x" * 201), "title"),
        (("--name", "An Examiner"), "name"),
        (("--auditor", "dpaudit1nobody"), "auditor"),
    ):
        with pytest.raises(ConfigError, match=problem):
            case.deal("none", *bad)
        assert not list((case.folder / "none").glob("*"))


def test_a_reference_authorities_would_refuse_is_not_asked_with(case: Case) -> None:
    before = len(case.at.records.kept)
    for bad in ("", "é" * 129, "two\nlines"):
        with pytest.raises(OrderRefused, match="legal reference"):
            case.query("bad.request", "--reference", bad)
    assert len(case.at.records.kept) == before


def test_the_key_of_a_keystore_can_be_shared(case: Case) -> None:
    from compliance.auditor_keys import secret_key

    case.deal("shared", "--members", "2", "--threshold", "1", "--keystore", case.path("eve/keystore.json"))
    found = Authority.load(case.folder / "shared" / "public.json")
    assert found.sharing.key == secret_key(case.eve.seed, found.registration.context).public


def test_a_share_file_opens_for_its_holder_only(case: Case) -> None:
    path = case.folder / "deal" / "member-1.share"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="does not open it"):
        Member.load(path, "wrong horse")
    other = case.folder / "read.share"
    other.write_bytes(path.read_bytes())
    other.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read it"):
        Member.load(other, PASSPHRASE)


@pytest.mark.parametrize(
    "field,value,problem",
    [
        ("format", "darkpool-authority", "format"),
        ("version", 2, "version"),
        ("index", 0, "index"),
        ("index", 4, "index"),
        ("index", 2, "does not open"),
        ("salt", "0x" + "00" * 32, "does not open"),
        ("salt", "0x00", "salt"),
        ("sealed", "0x" + "00" * 40, "does not open"),
        ("sealed", "0x" + "00" * 9_000, "sealed"),
        ("authority", {}, "authority"),
        ("more", 1, "has keys besides"),
    ],
)
def test_a_changed_share_file_is_refused_by_name(case: Case, field: str, value: Any, problem: str) -> None:  # noqa: ANN401
    document = json.loads((case.folder / "deal" / "member-1.share").read_text())
    path = case.folder / "changed.share"
    path.write_text(json.dumps({**document, field: value}, indent=2) + "\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=problem):
        Member.load(path, PASSPHRASE)


@pytest.mark.parametrize("field", ["title", "auditor", "operator", "registration", "sharing"])
def test_a_changed_public_file_is_refused_by_name(case: Case, field: str) -> None:
    path, bad = case.folder / "deal" / "public.json", case.folder / "changed.json"
    document = json.loads(path.read_text())
    other = ceremony()[0].as_json()
    wrong = {"registration": other["registration"], "sharing": other["sharing"]}
    for value in (3, "", "x" * 300, wrong.get(field, "\n")):
        bad.write_text(json.dumps({**document, field: value}, indent=2) + "\n")
        with pytest.raises(ConfigError):
            Authority.load(bad)
    bad.write_text(path.read_text() + "\n")
    with pytest.raises(ConfigError, match="canonical"):
        Authority.load(bad)
