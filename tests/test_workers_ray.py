"""A Ray cluster of two nodes on this machine: the verdicts of this process, also while a node is lost."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

import pytest

from commitments.threshold import combine
from darkpool.admission import unproven
from darkpool.committee.spread import Combination, spread
from darkpool.errors import Unavailable
from darkpool.message import Message
from darkpool.workers import present, refusals
from darkpool.workers_ray import Ray
from tests.ray_cluster import local_cluster
from tests.test_workers import SEATS, Scripted, honest, masked
from tests.worker_support import KEY, good_order, mixed_orders, said

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
]
ORDERS = mixed_orders()
VERDICTS = said(unproven(KEY, ORDERS))
BATCHES = 60


def none_else(request: bytes) -> Message:
    raise Unavailable(f"workers: {len(request)} bytes left the cluster", "venue")


def test_a_cluster_gives_the_same_verdicts_and_openings_as_this_process() -> None:
    async def run(address: str) -> None:
        items = masked(6)
        found = Ray(KEY, Scripted(none_else), 60, address)
        async with present(found):
            assert found.at_once == 2
            answers = await asyncio.gather(*(refusals(found, KEY, ORDERS) for _ in range(8)))
            assert [said(answer) for answer in answers] == [VERDICTS] * 8
            assert await spread(Combination(SEATS), items) == [combine(SEATS, *item) for item in items]

    with local_cluster(2) as cluster:
        asyncio.run(run(cluster.address))


def test_a_node_and_then_the_cluster_is_lost_in_the_middle_and_no_order_is() -> None:
    big = ORDERS + [good_order("ada", 1, 5)] * 26

    async def run() -> None:
        with local_cluster(2) as cluster:
            local = Scripted(honest)
            async with Ray(KEY, local, 60, cluster.address) as found:
                waiting = [asyncio.ensure_future(refusals(found, KEY, big)) for _ in range(BATCHES)]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.to_thread(cluster.remove_node)
                assert not all(one.done() for one in waiting)
                assert [said(answer) for answer in await asyncio.gather(*waiting)] == [VERDICTS] * BATCHES
                assert local.asked == []  # the other node did it
                waiting = [asyncio.ensure_future(refusals(found, KEY, big)) for _ in range(BATCHES)]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                found._seconds = 1
                await asyncio.to_thread(cluster.end)
                assert [said(answer) for answer in await asyncio.gather(*waiting)] == [VERDICTS] * BATCHES
                assert said(await refusals(found, KEY, ORDERS)) == VERDICTS
                assert local.asked

    asyncio.run(run())


def test_no_cluster_is_said_at_the_start_and_orders_are_verified_here(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def run() -> None:
        local = Scripted(honest)
        async with Ray(KEY, local, 60, "127.0.0.1:1") as found:
            assert said(await refusals(found, KEY, ORDERS)) == VERDICTS
        assert len(local.asked) == 1

    asyncio.run(run())
    assert "no cluster at 127.0.0.1:1" in capfd.readouterr().err
