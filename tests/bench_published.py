"""What others published of their systems. Quoted, not measured: to know what kind of figure is out there."""

from __future__ import annotations

from typing import Final, NamedTuple


class Published(NamedTuple):
    """A system, where its figure is from, and what was stated."""

    system: str
    source: str
    purpose: str
    rule: str
    hardware: str
    stated: str


PUBLISHED: Final = (
    Published(
        "MPC Joins the Dark Side",
        "Cartlidge, Smart, Talibi Alaoui 2019, IACR ePrint 2018/1045",
        "three kinds of dark market wholly under MPC (SCALE-MAMBA), two and three parties",
        "continuous double auction, periodic auction, volume match",
        "see the paper",
        "a continuous double auction is not viable under MPC, volume matching is",
    ),
    Published(
        "Plato Uncross under MPC",
        "Cartlidge, Smart, Talibi Alaoui 2021, doi 10.1002/isaf.1502",
        "London Stock Exchange's block discovery and uncross wholly under MPC",
        "volume match at the lit market's mid price",
        "see the paper",
        "handles the throughput of the real venue",
    ),
    Published(
        "Prime Match",
        "Polychroniadou, Asharov and others 2023, USENIX Security",
        "inventory matching between a bank and its clients, in production at J.P. Morgan",
        "minimum of two quantities; price from outside",
        "see the paper",
        "two rounds a comparison, secure against malicious parties",
    ),
)
