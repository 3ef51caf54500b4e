"""`darkpool policy` and `darkpool credential` as their users have them; the examples that come with them."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from compliance import policy_cases
from compliance.policy import Policy
from darkpool.cli.app import app
from darkpool.errors import DarkpoolError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples" / "policies").iterdir())
US = ROOT / "examples" / "policies" / "us"
ACCOUNT = "0x000000000000000000000000000000000000000a"
VAULT = "0x" + "cc" * 20
ASKED = ["--account", ACCOUNT, "--market", "WETH-USDC"]
INSTITUTION = ["--jurisdiction", "US", "--class", "institutional", "--issuer", "example-kyc"]
VENUE = ["--chain-id", "31337", "--contract", VAULT]


def said(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout


def told(*arguments: str | Path) -> Any:  # noqa: ANN401  # JSON
    return json.loads(said(*arguments, "--json"))


def refused(*arguments: str | Path) -> DarkpoolError:
    error = CliRunner().invoke(app, [*map(str, arguments)]).exception
    assert isinstance(error, DarkpoolError), error
    assert error.hint
    return error


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda f: f.name)
def test_an_example_holds_its_own_cases_and_names_every_rule(folder: Path) -> None:
    found = Policy.load(folder)
    outcomes = policy_cases.run_cases(
        found, policy_cases.read_cases(found, folder / "tests.csv", (folder / "tests.csv").read_bytes())
    )
    assert [o for o in outcomes if o.failures] == []
    shown = {rule for outcome in outcomes for rule in outcome.decision.rules}
    assert shown >= found.engine.sentences.keys()
    readme = (folder / "README.md").read_text()
    assert "## What it covers" in readme
    assert "## What it does not cover" in readme


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda f: f.name)
def test_a_wrong_expectation_fails_the_case(folder: Path, tmp_path: Path) -> None:
    """Every case is compared: turned into its opposite it fails."""
    copy = tmp_path / "policy"
    shutil.copytree(folder, copy)
    rows = list(csv.reader((copy / "tests.csv").read_text().splitlines()))
    column = rows[0].index("expect")
    for row in rows[1:]:
        row[column] = {"allow": "deny", "deny": "allow"}[row[column]]
    (copy / "tests.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    assert f"0 passed, {len(rows) - 1} failed" in said("policy", "test", copy, code=1)


def test_check_and_hash_agree() -> None:
    summary = told("policy", "check", US)
    assert said("policy", "hash", US).strip() == summary["hash"] == "0x" + Policy.load(US).hash.hex()
    assert summary["lists"]["ofac-sdn"]["entries"] == 3
    assert '@id("embargoed-region")' in said("policy", "check", US, "--cedar")


def test_explain_tells_rule_facts_and_duties() -> None:
    decision = told("policy", "explain", US, *ASKED, *INSTITUTION, "--at", "2026-03-01T12:00:00Z")
    assert decision["allowed"]
    assert decision["request"]["at"] == 1_772_366_400
    assert (decision["segment"], list(decision["auditors"])) == ("us-persons", ["examiner"])
    assert decision["lists"].keys() == {"embargoed", "ofac-sdn"}
    denied = told("policy", "explain", US, *ASKED, "--at", "1772366400")
    assert [r["rule"] for r in denied["reasons"]] == ["credential-missing"]


def test_diff_names_every_kind_of_change_and_the_decisions_it_turns(tmp_path: Path) -> None:
    new, records = tmp_path / "new", tmp_path / "decisions.jsonl"
    shutil.copytree(US, new)
    text = (new / "policy.toml").read_text()
    text = text.replace('jurisdictions = ["CA", "GB", "UA"]', 'jurisdictions = ["CA", "GB"]')
    text = text.replace("max_open_orders = 20", "max_open_orders = 5").replace('"us-persons"', '"domestic"')
    (new / "policy.toml").write_text(text)
    (new / "more.cedar").write_text('@id("more") @reason("More.") forbid (principal, action, resource);')
    orders: tuple[list[str], ...] = (
        [],
        ["--open-orders", "5"],
        ["--jurisdiction", "UA"],
        ["--class", "retail"],
    )
    lines = [said("policy", "explain", US, *ASKED, *INSTITUTION, *more, "--json") for more in orders]
    records.write_text("".join(lines))
    found = told("policy", "diff", US, new, "--decisions", records)
    changed = {(c["what"], c["kind"], c["name"]) for c in found["changes"]}
    assert changed == {
        ("changed", "group", "foreign"),
        ("changed", "rule", "accredited-open-orders"),
        ("removed", "segment", "us-persons"),
        ("added", "segment", "domestic"),
        ("added", "written rule", "more"),
    }
    assert (found["decisions"], found["released"]) == (4, 3)
    assert {e["line"]: e["what"] for e in found["effects"]} == {
        1: "allowed -> denied",
        2: "allowed -> denied",
        3: "allowed -> denied",
        4: "other rules",
    }
    same = told("policy", "diff", US, US, "--decisions", records)
    assert (same["changes"], same["effects"]) == ([], [])


def test_errors_are_a_line_and_a_hint(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("[policy]\nid = 7\n")
    done = subprocess.run(
        [sys.executable, "-c", "from darkpool.cli import main; main()", "policy", "check", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    error, blank, hint = done.stderr.splitlines()
    assert error.startswith(f"error: {tmp_path}/policy.toml, line 2: [policy] id: got 7; allowed: ")
    assert (blank, hint[:6], done.returncode, done.stdout) == ("", "hint: ", 2, "")


@pytest.mark.parametrize(
    "arguments, problem",
    [
        (["policy", "test", ROOT / "docs"], "not a file of a policy"),
        (["policy", "explain", US, "--account", "0x1", "--market", "M"], "address"),
        (["policy", "explain", US, *ASKED, "--at", "noon"], "--at"),
        (["policy", "explain", US, *ASKED, "--at", "2026-03-01T12:00:00"], "--at"),
        (["policy", "explain", US, *ASKED, "--credential", US], "--chain-id"),
        (["policy", "explain", US, *ASKED, "--credential", US, *VENUE], "not a regular file"),
        (["policy", "explain", US, *ASKED, "--credential", US, *INSTITUTION], "--jurisdiction"),
        (["policy", "explain", US, *ASKED, "--jurisdiction", "US"], "--issuer"),
        (["policy", "explain", US, *ASKED, *INSTITUTION, "--jurisdiction", "usa"], "ISO 3166"),
        (["policy", "diff", US, US, "--decisions", US / "README.md"], "line 1"),
        (["credential", "show", US / "README.md"], "malformed"),
    ],
)
def test_bad_arguments_are_refused(arguments: list[str | Path], problem: str) -> None:
    assert problem in refused(*arguments).message


def test_a_credential_from_issue_to_revocation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKPOOL_PASSPHRASE", "a long secret")
    issuer = told("keygen", "--home", tmp_path / "issuer")
    key = ["--keystore", issuer["keystore"], *VENUE]
    shutil.copytree(US, tmp_path / "policy")
    text = (tmp_path / "policy" / "policy.toml").read_text()
    old = next(line for line in text.splitlines() if line.startswith("address = "))
    (tmp_path / "policy" / "policy.toml").write_text(text.replace(old, f'address = "{issuer["address"]}"'))
    file, held = tmp_path / "credential.json", tmp_path / "revocations.json"
    facts = ["--subject", ACCOUNT, "--jurisdiction", "US-NY", "--class", "institutional"]
    stated = told("credential", "issue", *key, *facts, "--days", "30", "--out", file)
    assert (stated["issuer"], stated["expires"] - stated["issued"]) == (issuer["address"], 30 * 86_400)
    assert "exists already" in refused("credential", "issue", *key, *facts, "--out", file).message

    asked: list[str | Path] = ["policy", "explain", tmp_path / "policy", *ASKED, "--credential", file, *VENUE]
    assert told(*asked)["request"]["refused"] == "revocations-missing"
    assert told("credential", "revoke", held, *key)["sequence"] == 1
    assert told(*asked, "--revocations", held)["allowed"]
    shown: list[str | Path] = [
        "credential",
        "show",
        file,
        "--policy",
        tmp_path / "policy",
        "--revocations",
        held,
    ]
    assert told(*shown) == stated
    assert told("credential", "revoke", held, *key, "--serial", str(stated["serial"]))["sequence"] == 2
    assert told(*asked, "--revocations", held)["request"]["refused"] == "revoked"
    assert "revoked by list 2" in refused(*shown).message
    other = [*key[:-1], "0x" + "cd" * 20]
    assert "another venue" in refused("credential", "revoke", held, *other).message
    foreign = told(*asked[:-1], "0x" + "cd" * 20)
    assert foreign["request"]["refused"] == "foreign"

    file.write_text(file.read_text().replace('"US-NY"', '"US"'))
    assert "not signed" in refused("credential", "show", file).message
    assert told(*asked, "--revocations", held)["request"]["refused"] == "signature"


def test_help_does_not_wait_for_the_rule_engine() -> None:
    code = "import sys; from darkpool.cli import app; print({'cedarpy', 'compliance'} & set(sys.modules))"
    probe = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert probe.stdout.strip() == "set()"
