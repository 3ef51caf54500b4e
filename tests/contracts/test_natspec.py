"""Every function that anybody can call says what it does, what each argument means, and what it returns."""

from __future__ import annotations

import re
from typing import Any

import pytest

import contracts


def documented(contract: str) -> dict[str, dict[str, Any]]:
    """NatSpec of the contract's own functions and its modules', by name."""
    from vyper.ast.natspec import parse_natspec
    from vyper.compiler.input_bundle import FilesystemInputBundle
    from vyper.compiler.phases import CompilerData

    bundle = FilesystemInputBundle([contracts.SOURCES])
    main = CompilerData(bundle.load_file(f"{contract}.vy"), bundle).annotated_vyper_module
    imported = main._metadata["type"].imported_modules.values()
    found: dict[str, dict[str, Any]] = {}
    for module in (*(info.module_t._module for info in imported), main):
        natspec = parse_natspec(module)
        for part in (natspec.userdoc, natspec.devdoc):
            for signature, texts in part.get("methods", {}).items():
                found.setdefault(signature.partition("(")[0], {}).update(texts)
    return found


@pytest.mark.parametrize("contract", ["Vault", "Arbiter", "TestToken"])
def test_functions_are_documented(contract: str) -> None:
    found = documented(contract)
    text = b"".join(contracts.sources(contract).values()).decode()
    # The compiler makes these, and a comment says what they hold.
    getters = set(re.findall(r"^(\w+): public\(", text, re.MULTILINE))
    for entry in contracts.load(contract).abi:
        name = entry.get("name", "")
        if entry["type"] != "function" or name in getters:
            continue
        texts = found[name]
        assert texts["notice"], name
        assert set(texts.get("params", {})) == {argument["name"] for argument in entry["inputs"]}, name
        assert len(texts.get("returns", {})) == len(entry.get("outputs", ())), name


def test_every_contract_has_a_title_a_notice_and_a_licence() -> None:
    for name in ("Vault", "Arbiter", "TestToken"):
        for text in contracts.sources(name).values():
            assert b"@title " in text
            assert b"@license GPL-3.0-or-later" in text
