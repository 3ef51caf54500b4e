"""One deployed world, rolled back after every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts.world import World


@pytest.fixture(scope="package")
def deployed() -> World:
    return World()


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    vault, tokens, logs = deployed.vault, list(deployed.tokens), list(deployed.logs)
    snapshot = deployed.tester.take_snapshot()
    yield deployed
    deployed.tester.revert_to_snapshot(snapshot)
    deployed.tokens, deployed.logs = tokens, logs
    deployed.use(vault)
