"""The project's own promises: pinned packages, documented packages, targets, licence."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("api", "commitments", "compliance", "contracts", "darkpool", "tests")
TARGETS = {"demo", "test", "test-all", "check", "bench", "vectors", "contracts", "lock", "venv", "clean"}
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """Return the [project] table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


@pytest.fixture(scope="module")
def locked() -> dict[str, set[str]]:
    """Return the locked versions by package name; fails on a line that is not a hashed exact pin."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    versions: dict[str, set[str]] = {}
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        pin, *hashes = re.split(r"\s+(?=--hash=)", line)
        assert hashes, f"no hash: {line}"
        assert all(HASH.fullmatch(each.strip()) for each in hashes), line
        requirement = Requirement(pin)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", pin
        assert requirement.url is None, pin
        versions.setdefault(canonicalize_name(requirement.name), set()).add(specifier.version)
    return versions


def test_the_lock_satisfies_every_declared_requirement(
    project: dict[str, Any], locked: dict[str, set[str]]
) -> None:
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for declared in [*project["dependencies"], *project["optional-dependencies"]["dev"], *backend]:
        requirement = Requirement(declared)
        versions = locked[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(v, prereleases=True) for v in versions), declared


def test_the_npm_lock_pins_by_integrity_alone() -> None:
    wanted = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    for name, version in wanted.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    for path, entry in packages.items():
        assert "resolved" not in entry, path
        assert not path or entry["integrity"].startswith("sha512-"), path


def addresses(root: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "--silent", "addresses", f"ROOT={root}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_no_file_names_a_package_registry() -> None:
    result = addresses(Path())
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    "parts",
    [
        ("https://pypi", ".org/project/phe"),
        ("https://files.python", "hosted.org/packages"),
        ("https://registry.npm", "js.org/anvil"),
        ("--index", "-url x"),
        ("--find", "-links /wheels"),
        ('"resol', 'ved": "x"'),
        ("https://mirror.invalid/", "simple/"),
    ],
)
def test_a_registry_address_is_found(tmp_path: Path, parts: tuple[str, str]) -> None:
    (tmp_path / "file").write_text("".join(parts))
    assert addresses(tmp_path).returncode != 0


def test_every_package_says_what_it_is() -> None:
    for package in PACKAGES:
        folders = {path.parent for path in (ROOT / package).rglob("*.py")}
        assert folders, package
        for folder in folders:
            marker = folder / "__init__.py"
            assert marker.exists(), f"{folder.relative_to(ROOT)} is not a package"
            assert ast.get_docstring(ast.parse(marker.read_text())), marker.relative_to(ROOT)


def test_make_has_every_target() -> None:
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert rules >= TARGETS


def test_the_licence_is_the_gpl_version_3_or_later(project: dict[str, Any]) -> None:
    assert project["license"] == "GPL-3.0-or-later"
    head = (ROOT / "LICENSE").read_text()[:200]
    assert "GNU GENERAL PUBLIC LICENSE" in head
    assert "Version 3, 29 June 2007" in head
    # PEP 639: the SPDX expression replaces licence classifiers, and the two must not both be given.
    assert not [c for c in project["classifiers"] if c.startswith("License ::")]
