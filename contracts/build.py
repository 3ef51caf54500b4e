"""Compile the contracts into `contracts/artifacts`, or compare: `python -m contracts.build [--check]`."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from contracts import ARTIFACTS, SOURCES, source_digest

EVM_VERSION: Final = "cancun"
OPTIMIZE: Final = "gas"
_FIELDS: Final = ("name", "source_sha256", "compiler", "settings", "abi", "bytecode")


def contract_names() -> list[str]:
    """The contracts among the sources; the other files are modules of theirs."""
    return sorted(path.stem for path in SOURCES.glob("[A-Z]*.vy"))


def compiled(name: str) -> dict[str, Any]:
    """The artifact document of a contract; equal sources give equal documents wherever they lie.

    Raises the compiler's exceptions, its warnings among them.
    """
    from vyper.compiler import compile_code
    from vyper.compiler.input_bundle import FilesystemInputBundle
    from vyper.compiler.settings import OptimizationLevel, Settings
    from vyper.warnings import VyperWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", VyperWarning)
        # A fixed name: the compiler would otherwise write this machine's path into messages.
        output = compile_code(
            (SOURCES / f"{name}.vy").read_text(),
            contract_path=f"{name}.vy",
            input_bundle=FilesystemInputBundle([SOURCES]),
            output_formats=["abi", "bytecode"],
            settings=Settings(optimize=OptimizationLevel.from_string(OPTIMIZE), evm_version=EVM_VERSION),
        )
    return {
        "name": name,
        "source_sha256": source_digest(name),
        "compiler": f"vyper {version('vyper')}",
        "settings": {"evm_version": EVM_VERSION, "optimize": OPTIMIZE},
        "abi": output["abi"],
        "bytecode": output["bytecode"],
    }


def _compiler_complaints() -> tuple[type[Exception], ...]:
    from vyper.exceptions import VyperException
    from vyper.warnings import VyperWarning

    return VyperException, VyperWarning


def rendered(document: dict[str, Any]) -> bytes:
    """The exact bytes of an artifact file."""
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def differences(documents: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    """What keeps the artifacts in `folder` from being exactly `documents`, one line each."""
    problems = [
        f"{path.name}: no such source in contracts/src"
        for path in sorted(folder.glob("*.json"))
        if path.stem not in documents
    ]
    for name, document in documents.items():
        path = folder / f"{name}.json"
        try:
            committed = path.read_bytes()
        except FileNotFoundError:
            problems.append(f"{path.name}: missing")
            continue
        if committed == rendered(document):
            continue
        try:
            old = json.loads(committed)
            changed = [key for key in _FIELDS if old.get(key) != document[key]]
        except (ValueError, AttributeError):
            problems.append(f"{path.name}: not a JSON object")
            continue
        problems.append(f"{path.name}: differs in {', '.join(changed) or 'layout'}")
    return problems


def main(arguments: list[str] | None = None) -> int:
    """Write the artifacts, or with `--check` report every difference and return 1."""
    parser = argparse.ArgumentParser(prog="python -m contracts.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    check = parser.parse_args(arguments).check

    documents: dict[str, dict[str, Any]] = {}
    for name in contract_names():
        try:
            documents[name] = compiled(name)
        except _compiler_complaints() as error:
            print(f"error: {name}.vy: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
    if check:
        problems = differences(documents, ARTIFACTS)
        for problem in problems:
            print(f"error: {problem}", file=sys.stderr)
        if problems:
            print("\nhint: run `make contracts` and commit the result", file=sys.stderr)
            return 1
        print(f"{len(documents)} contract artifacts match their sources", file=sys.stderr)
        return 0
    ARTIFACTS.mkdir(exist_ok=True)
    for name, document in documents.items():
        (ARTIFACTS / f"{name}.json").write_bytes(rendered(document))
    for path in ARTIFACTS.glob("*.json"):
        if path.stem not in documents:
            path.unlink()
    print(f"wrote {len(documents)} contract artifacts", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
