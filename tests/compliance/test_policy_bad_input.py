"""Malformed policies, lists, rules and cases: refused before anything is used, with file and line."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from compliance import policy_cases
from compliance.policy import Policy
from compliance.policy_diff import read_records
from compliance.policy_folder import read_folder
from compliance.policy_toml import PolicyError
from darkpool.errors import ConfigError
from tests.compliance.policy_support import KEYS, document, policy, toml, without_credentials

FORBID = '@id("h") @reason("H.")\nforbid (principal, action, resource)'
GOOD = toml(document()).decode()
"""Line 1 [policy] … 9 [[group]] … 12 [[issuer]] … 17 [[allow]]; the tests look lines up themselves."""


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def refused(text: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        Policy({"policy.toml": text.encode()})
    error = caught.value
    assert error.file == "policy.toml"
    assert error.message.startswith("policy.toml")
    return error


CHANGES = [
    ("version = 1", "version = 0", "version", "whole number"),
    ("version = 1", "version = true", "version", "whole number"),
    ("version = 1", "version = 1.0", "version", "whole number"),
    ("version = 1", "version = 2026-01-01", "version", "whole number"),
    ('id = "test"', 'id = "Test"', "id", "a-z"),
    ('id = "test"', 'id = "test', "", "not TOML"),
    ('note = "From the next round."', 'note = ""', "note", "printable"),
    ('note = "From the next round."', 'note = "a\\nb"', "note", "printable"),
    ('"US-NY"', '"us"', "jurisdictions", "ISO 3166"),
    ('"US-NY"', '"US"', "jurisdictions", "twice"),
    ('["retail", "pro"]', "[]", "classes", "1 to 16"),
    ('["retail", "pro"]', '"retail"', "classes", "not a list"),
    ('["DE", "FR"]', '["DE", "GB"]', "jurisdictions", "'GB'"),
    ('"0x1111111111111111111111111111111111111111"', '"0x11"', "address", "40 hexadecimal"),
    ("revocations_max_age_hours = 1", "revocations_max_age_hours = 0", "revocations_max_age_hours", "1 to"),
    ("revocations_max_age_hours = 1", "max_age = 1", "[[issuer]]", "revocations_max_age_hours is missing"),
    ('markets = ["*"]', 'markets = ["M-3"]', "markets", "'M-3'"),
    ('markets = ["*"]', 'markets = ["*", "M-1"]', "markets", "others"),
    ('markets = ["*"]', 'market = ["*"]', "[[allow]]", "markets is missing"),
    ('reason = "All."', 'reason = "All."\nreasons = "x"', "reasons", "no such key"),
    ('reason = "All."', 'reason = "All."\nissuers = ["other"]', "issuers", "'other'"),
    ('id = "all"', 'id = "default"', "id", "built-in"),
    ('id = "all"', 'id = "credential-expired"', "id", "built-in"),
    ("[[allow]]", "[[permit]]", "permit", "unknown"),
    ("[[allow]]", "[allow]", "allow", "list of tables"),
]


@pytest.mark.parametrize("old, new, key, problem", CHANGES)
def test_a_wrong_value_is_refused_at_its_line(old: str, new: str, key: str, problem: str) -> None:
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    error = refused(text)
    wanted = line_of(text, new) + new.count("\n")
    if "is missing" in problem:  # the line of the table
        wanted = line_of(text, f"{key}\n")
    assert error.line == wanted, error.message
    assert key in error.message
    assert problem in error.message


@pytest.mark.parametrize("table", ["[[forbid]]\nid = 'all'\nreason = 'x'\n", GOOD[GOOD.index("[[allow]]") :]])
def test_an_id_is_used_once(table: str) -> None:
    text = GOOD + table
    error = refused(text)
    assert "taken" in error.message
    assert error.line == text[: text.rindex("id = ")].count("\n") + 1


def test_tables_that_need_credentials_are_refused_without() -> None:
    for name in ("group", "issuer", "segment"):
        value = without_credentials(**{name: [{"name": "x"}]})
        assert "credentials" in refused(toml(value).decode()).message
    value = without_credentials(allow=[{"id": "a", "reason": "A.", "markets": ["*"], "classes": ["pro"]}])
    assert "classes" in refused(toml(value).decode()).message


def test_nobody_is_in_two_segments() -> None:
    segments = [{"name": "us", "jurisdictions": ["US"]}, {"name": "retail", "classes": ["retail"]}]
    text = toml(document(segment=segments)).decode()
    error = refused(text)
    assert "retail accounts of US are in us and in retail" in error.message
    assert error.line == line_of(text, '[[segment]]\nname = "retail"')


def test_an_order_has_room_for_eight_auditors() -> None:
    auditors = [{"name": f"a{i}", "title": "A", "key": key} for i, key in enumerate(KEYS)]
    names = [f"a{i}" for i in range(len(KEYS))]
    duty = {"id": "d", "reason": "D.", "auditors": names[:9], "visible_after_hours": 1}
    rest = {**duty, "id": "e", "auditors": names[8:], "jurisdictions": ["KP"]}
    message = refused(toml(document(auditor=auditors, disclosure=[duty, rest])).decode()).message
    assert "9 auditors" in message
    fits = [{**duty, "auditors": names[:8]}, {**rest, "auditors": names[8:], "jurisdictions": ["KP"]}]
    fits[0]["jurisdictions"] = ["US"]
    assert policy(document(auditor=auditors, disclosure=fits)).config.auditors


@pytest.mark.parametrize(
    "key",
    [
        "0x" + "00" * 48,
        "0xc0" + "00" * 47,
        KEYS[0][:-2],
        KEYS[0].upper(),
        "0x" + "8" + "0" * 94 + "1",
    ],
    ids=["zeros", "the identity", "short", "upper case", "off the subgroup"],
)
def test_an_auditors_key_is_a_point_of_the_group(key: str) -> None:
    duty = {"id": "d", "reason": "D.", "auditors": ["a"], "visible_after_hours": 1}
    value = document(auditor=[{"name": "a", "title": "A", "key": key}], disclosure=[duty])
    text = toml(value).decode()
    error = refused(text)
    assert error.line == line_of(text, "key = ")


# --- lists ------------------------------------------------------------------------------------------

LISTS = [
    ("addresses", b"0x" + b"ab" * 20 + b"\nUS\n", 2),
    ("addresses", b"# fine\n\n0x" + b"ab" * 19 + b"\n", 3),
    ("addresses", b"0x" + b"ab" * 20 + b"\n# again\n0x" + b"AB" * 20, 3),
    ("addresses", b"0x52908400098527886E0F7030069857D2E4169Ee7", 1),
    ("addresses", b"\xef\xbb\xbf0x" + b"ab" * 20, 1),
    ("countries", b"US\nus\n", 2),
    ("countries", b"US\nUS-\n", 2),
    ("countries", b"US CA\n", 1),
    ("countries", b"US\n\0\n", 2),
]


@pytest.mark.parametrize("kind, data, line", LISTS)
def test_a_wrong_entry_is_refused_at_its_line(kind: str, data: bytes, line: int) -> None:
    value = document(
        list=[{"name": "bad", "kind": kind, "title": "Bad"}],
        forbid=[{"id": "f", "reason": "F.", "list": "bad"}],
    )
    with pytest.raises(PolicyError) as caught:
        Policy({"policy.toml": toml(value), "lists/bad.txt": data})
    assert (caught.value.file, caught.value.line) == ("lists/bad.txt", line)


def test_lists_and_tables_name_each_other() -> None:
    entry = [{"name": "bad", "kind": "countries", "title": "Bad"}]
    use = [{"id": "f", "reason": "F.", "list": "bad"}]
    with pytest.raises(PolicyError, match=r"lists/bad\.txt: not found"):
        policy(document(list=entry, forbid=use))
    with pytest.raises(PolicyError, match=r"lists/other\.txt: policy\.toml has no such list"):
        policy(document(list=entry, forbid=use), {"bad": "", "other": ""})
    with pytest.raises(PolicyError, match="list bad is used by no rule"):
        policy(document(list=entry), {"bad": ""})
    by_hand = f'{FORBID} when {{ context.lists.contains(List::"bad") }};'
    assert policy(document(list=entry), {"bad": ""}, hand=by_hand).written


# --- rules written by hand --------------------------------------------------------------------------

RULES = [
    ("forbid (principal, action, resource);", "without @id"),
    ('@id("h") forbid (principal, action, resource);', "without @reason"),
    ('@id("H h") @reason("H.") forbid (principal, action, resource);', "without @id"),
    ('@id("all") @reason("H.") forbid (principal, action, resource);', "taken"),
    ('@id("default") @reason("H.") forbid (principal, action, resource);', "taken"),
    (f"{FORBID} whn {{ true }};", "not a Cedar rule"),
    (f"{FORBID} when {{ context.nope }};", "schema"),
    (f'{FORBID} when {{ context.jurisdiction == "US" }};', "schema"),
    (f'{FORBID} when {{ resource == Market::"m-1" }};', "schema"),
    (f'{FORBID} when {{ action == Action::"sumbit" }};', "schema"),
    (f'{FORBID} when {{ context.jurisdiction in Jurisdiction::"us" }};', "'us'"),
    (f'{FORBID} when {{ principal == Account::"0x{"AB" * 20}" }};', "Account::'0xAB"),
    ('@id("h") @reason("H.")\nforbid (principal == ?principal, action, resource);', "slots"),
    (FORBID, "no end"),
    (f"{FORBID});", "brackets"),
    (f"{FORBID} when {{ {'(' * 60}true{')' * 60} }};", "brackets"),
    (f"{FORBID} when {{ {' && '.join(['true'] * 110)} }};", "not a Cedar rule"),
    (f"{FORBID} when {{ {' && '.join(['true'] * 400)} }};", "at most 2048"),
]


@pytest.mark.parametrize("rule, problem", RULES)
def test_a_wrong_rule_is_refused_at_its_line(rule: str, problem: str) -> None:
    fine = FORBID.replace('"h"', '"fine"').replace("H.", "; not the end")
    before = f'// a comment; with "quotes\n{fine};\n\n'
    with pytest.raises(PolicyError) as caught:
        policy(document(), hand=before + rule)
    assert caught.value.file == "hand.cedar"
    assert caught.value.line == 5 + ("brackets" in problem)  # it knows where those are
    assert problem in caught.value.message


def test_without_credentials_no_rule_can_name_what_they_state() -> None:
    with pytest.raises(PolicyError, match="schema"):
        policy(without_credentials(), hand=f'{FORBID} when {{ context.jurisdiction in Jurisdiction::"US" }};')
    assert policy(without_credentials(), hand=f"{FORBID} when {{ context.time < 5 }};").written


def test_a_misspelt_file_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(GOOD)
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "README.md").write_text("")
    assert set(read_folder(tmp_path)) == {"policy.toml"}
    (tmp_path / "rules.cedar.txt").write_text("")
    with pytest.raises(PolicyError, match="not a file of a policy"):
        read_folder(tmp_path)
    with pytest.raises(PolicyError, match="not a file of a policy"):
        Policy({"policy.toml": GOOD.encode(), "x\npermit.cedar": b""})
    with pytest.raises(PolicyError, match="no folder"):
        read_folder(tmp_path / "none")


def test_a_file_too_long_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(ConfigError, match="over"):
        read_folder(tmp_path)
    (tmp_path / "policy.toml").unlink()
    (tmp_path / "policy.toml").mkdir()
    with pytest.raises(ConfigError, match="not a regular file"):
        read_folder(tmp_path)


# --- cases and records ------------------------------------------------------------------------------

HEADER = ",".join(policy_cases.COLUMNS) + "\n"
CASES = [
    ("name,expect\n", 1, "columns"),
    (HEADER.replace("expect", "expected"), 1, "header"),
    (HEADER, None, "0 cases"),
    (HEADER + "a,,M-1,US,pro,kyc,,0,,allow,,\n", 2, "columns"),
    (HEADER + "a,,M-1,US,pro,kyc,,0,,maybe,,,\n", 2, "expect"),
    (HEADER + "a,0x1,M-1,US,pro,kyc,,0,,allow,,,\n", 2, "account"),
    (HEADER + "a,,M-1,US,pro,nobody,,0,,allow,,,\n", 2, "issuer"),
    (HEADER + "a,,M-1,us,pro,kyc,,0,,allow,,,\n", 2, "jurisdiction"),
    (HEADER + "a,,M-1,US,pro,kyc,lost,0,,allow,,,\n", 2, "credential"),
    (HEADER + "a,,M-1,US,pro,kyc,,-1,,allow,,,\n", 2, "open_orders"),
    (HEADER + 'a,,M-1,US,pro,kyc,,0,,allow,,,\n"b,,', 3, "CSV"),
]


@pytest.mark.parametrize("text, line, problem", CASES)
def test_a_wrong_table_of_cases_is_refused_at_its_line(text: str, line: int | None, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy_cases.read_cases(policy(document()), Path("tests.csv"), text.encode())
    assert caught.value.line == line
    assert problem in caught.value.message


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b"{}", b'{"request": {}}', b'{"request": ' + b"[" * 99, b"\xff"]
)
def test_a_wrong_record_is_refused_at_its_line(data: bytes) -> None:
    with pytest.raises(PolicyError, match=r"records\.jsonl, line 2"):
        read_records("records.jsonl", b"\n" + data)


def test_an_error_survives_another_process() -> None:
    error = refused(GOOD.replace("version = 1", "version = 0"))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert (again.message, again.hint, again.line) == (error.message, error.hint, error.line)
