"""Artifacts are what the sources compile to, and the loader notices when they are not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import contracts
from contracts import build


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The sources and artifacts in another place, with nothing cached."""
    for name in ("src", "artifacts"):
        shutil.copytree(Path(contracts.__file__).parent / name, tmp_path / name)
    for module in (contracts, build):
        monkeypatch.setattr(module, "SOURCES", tmp_path / "src")
        monkeypatch.setattr(module, "ARTIFACTS", tmp_path / "artifacts")
    contracts.load.cache_clear()
    yield tmp_path
    contracts.load.cache_clear()


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    """Compiled now; the tests below change files, not these."""
    return {name: build.compiled(name) for name in build.contract_names()}


def test_committed_artifacts_are_what_the_sources_compile_to(documents: dict[str, dict[str, Any]]) -> None:
    assert set(documents) == {"Arbiter", "TestToken", "Vault"}  # and none of the modules
    assert build.differences(documents, contracts.ARTIFACTS) == []


@pytest.mark.slow
@pytest.mark.usefixtures("copy")
def test_artifacts_do_not_depend_on_where_they_are_compiled() -> None:
    assert build.main(["--check"]) == 0


@pytest.mark.parametrize("name", ["Vault", "TestToken"])
def test_loads_without_the_source_and_without_a_compiler(copy: Path, name: str) -> None:
    shutil.rmtree(copy / "src")
    artifact = contracts.load(name)
    assert artifact.name == name
    assert len(artifact.bytecode) > 500
    assert "abi" not in repr(artifact)


@pytest.mark.slow
def test_a_changed_source_is_noticed(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = copy / "src" / "TestToken.vy"
    source.write_text(source.read_text().replace("A minimal", "A small"))
    with pytest.raises(contracts.ArtifactError, match=r"not made from the present src/TestToken\.vy"):
        contracts.load("TestToken")
    (copy / "src" / "Vault.vy").unlink()
    (copy / "artifacts" / "Vault.json").unlink()
    assert build.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert "TestToken.json: differs in source_sha256" in said
    assert "hint: run `make contracts`" in said
    (copy / "artifacts" / "Old.json").write_text("{}")
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0
    assert not (copy / "artifacts" / "Old.json").exists()


def test_a_changed_module_is_noticed_by_the_contracts_made_from_it(copy: Path) -> None:
    module = copy / "src" / "ledger.vy"
    module.write_text(module.read_text().replace("What the vault owes", "What is owed"))
    with pytest.raises(contracts.ArtifactError, match=r"not made from the present src/Vault\.vy"):
        contracts.load("Vault")
    assert contracts.load("TestToken").name == "TestToken"
    module.unlink()
    with pytest.raises(contracts.ArtifactError, match=r"not made from the present src/Vault\.vy"):
        contracts.load("Vault")


def test_sources_are_the_contract_and_its_modules() -> None:
    assert set(contracts.sources("Vault")) == {"Vault.vy", "ledger.vy", "accounts.vy", "committee.vy"}
    assert set(contracts.sources("TestToken")) == {"TestToken.vy"}
    assert all(len(text.splitlines()) < 400 for text in contracts.sources("Vault").values())


def test_a_warning_of_the_compiler_fails_the_build(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = copy / "src" / "TestToken.vy"
    source.write_text(source.read_text() + "\n\nenum Old:\n    A\n")
    assert build.main([]) == 1
    assert "error: TestToken.vy: EnumUsage" in capsys.readouterr().err


def test_changed_missing_and_foreign_artifacts_are_noticed(
    copy: Path, documents: dict[str, dict[str, Any]]
) -> None:
    folder = copy / "artifacts"
    vault, token = folder / "Vault.json", folder / "TestToken.json"
    vault.write_bytes(build.rendered(documents["Vault"] | {"bytecode": "0x00", "compiler": "other"}))
    token.write_text(token.read_text().rstrip())
    (folder / "Old.json").write_text("{}")
    assert build.differences(documents, folder) == [
        "Old.json: no such source in contracts/src",
        "TestToken.json: differs in layout",
        "Vault.json: differs in compiler, bytecode",
    ]
    (folder / "Old.json").unlink()
    vault.write_text("[")
    token.unlink()
    assert build.differences(documents, folder) == [
        "TestToken.json: missing",
        "Vault.json: not a JSON object",
    ]


@pytest.mark.parametrize("name", ["", "../Vault", "Vault.json", "V" * 65, "Nothing"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(contracts.ArtifactError):
        contracts.load(name)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"name": "Vault"}', "\0", '{"name": "TestToken", "abi": []}']
)
def test_unreadable_artifacts_are_refused(copy: Path, text: str) -> None:
    (copy / "artifacts" / "Vault.json").write_text(text)
    with pytest.raises(contracts.ArtifactError, match="run `make contracts`"):
        contracts.load("Vault")
