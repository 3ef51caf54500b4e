"""Call-auction examples from public documents.

Prices are the documents'. Volumes and fills are too where they give them; elsewhere they follow from the
price by price and time priority. Several documents were only at hand as others have transcribed them:

XETRA     Deutsche Boerse, Xetra Market Model Equities, the price determination examples, and T7 Market Model
          for the Trading Venue Xetra, 11.1.1 (the rule). Transcribed in the public test suite of
          ratzlow/tinyEXCH, AuctionMatchTest.
EURONEXT  Euronext, The Pure Market Order, call phase examples 1 to 5; market-to-limit orders count as market
          orders. Transcribed in the public test suite of mattdavey/EuronextClone.
BNB       BNB Beacon Chain, Match Steps and Examples (docs/beaconchain/match-examples.md), whose third step
          bounds the pressure by a percentage of the reference: our rule with that many ticks.
ASX       The opening algorithm of 2002: order book of stock X in the appendix to the additional reading,
          trading engine course of UNSW, session 3, which gives the volume and the interval 6.35 to 6.39.
GRID      MarketGrid, Single-Price Auction, the worked example of maximum executable volume.

Xetra, the ASX and, in these examples, Euronext send a one-sided surplus to the edge of the interval: our rule
with a large `pressure_ticks`. Where only market orders meet, they trade at the reference: pressure 0. The
older Xetra editions choose among the orders' limits alone, so their examples 4 and 5 can differ from a rule
over all ticks; in example 5 the T7 edition takes the reference itself between the limits, as we do.
"""

from __future__ import annotations

from dataclasses import dataclass

from darkpool.auction import PlainOrder
from darkpool.market import Side
from darkpool.types import Lots, Tick

EDGE = 256  # a pressure no grid is wide enough to resist


@dataclass(frozen=True, slots=True)
class Published:
    """One example: orders as "buy 400 @ 202" or "buy 900 @ market", in arrival order, prices in ticks."""

    source: str
    orders: str
    reference: int
    pressure: int
    price: int
    volume: int
    filled: str = ""


# fmt: off
PUBLISHED = [
    Published("XETRA 1: exactly one limit with the highest volume and the lowest surplus",
        "buy 200 @ 202, buy 200 @ 201, buy 300 @ 200, sell 100 @ 200, sell 200 @ 198, sell 400 @ 197",
        200, EDGE, 200, 700),
    Published("XETRA 2: several limits, surplus on the bid: the highest",
        "buy 400 @ 202, buy 200 @ 201, sell 300 @ 199, sell 200 @ 198",
        199, EDGE, 201, 500, "400 100 300 200"),
    Published("XETRA 3: several limits, surplus on the ask: the lowest",
        "buy 300 @ 202, buy 200 @ 201, sell 400 @ 199, sell 200 @ 198",
        202, EDGE, 199, 500, "300 200 300 200"),
    Published("XETRA 5: no surplus, reference 202: the nearest limit",
        "buy 300 @ 202, buy 200 @ 201, sell 200 @ 198, sell 300 @ 199", 202, EDGE, 201, 500),
    Published("XETRA 5: no surplus, reference 198: the nearest limit",
        "buy 300 @ 202, buy 200 @ 201, sell 200 @ 198, sell 300 @ 199", 198, EDGE, 199, 500),
    Published("XETRA T7 11.1.1: no surplus, reference strictly between the limits: the reference",
        "buy 300 @ 202, buy 200 @ 201, sell 200 @ 198, sell 300 @ 199", 200, EDGE, 200, 500),
    Published("XETRA 6: only market orders are executable: the reference",
        "buy 900 @ market, sell 800 @ market", 250, 0, 250, 800, "800 800"),
    Published("XETRA: partial execution by time",
        "buy 300 @ 200, buy 300 @ 200, sell 400 @ 200", 200, EDGE, 200, 400, "300 100 400"),
    Published("XETRA: market orders first, then the limit; all limits have an ask surplus",
        "buy 250 @ market, buy 150 @ 199, buy 50 @ market, sell 300 @ market, sell 200 @ 198",
        201, EDGE, 198, 450, "250 150 50 300 150"),
    Published("EURONEXT 1a: no surplus, the limit nearest the reference",
        "buy 50 @ market, buy 90 @ 1010, buy 10 @ 990, sell 40 @ market, sell 100 @ 1008, sell 60 @ 1015",
        1000, EDGE, 1008, 140),
    Published("EURONEXT 1b: the market order is totally filled",
        "buy 50 @ market, buy 90 @ 1010, buy 10 @ 990, sell 40 @ market, sell 100 @ 1008, sell 60 @ 1015,"
        " buy 20 @ market", 1000, EDGE, 1010, 140, "50 70 0 40 100 0 20"),
    Published("EURONEXT 2: the market order is partially filled",
        "buy 40 @ market, sell 45 @ market, buy 20 @ market", 1000, 0, 1000, 45, "40 45 5"),
    Published("EURONEXT 3: the reference lies beyond the best limit",
        "buy 40 @ market, sell 40 @ 998", 1000, 0, 1000, 40),
    Published("EURONEXT 4: surplus of sells, the best limit below the reference",
        "buy 40 @ market, sell 41 @ 998", 1000, EDGE, 998, 40, "40 40"),
    Published("EURONEXT 5: the best limit above the reference",
        "buy 40 @ market, sell 40 @ 1002", 1000, 0, 1002, 40),
    Published("BNB 1: the largest execution",
        "buy 150 @ 100, buy 150 @ 98, sell 250 @ 98, sell 50 @ 97", 99, 5, 98, 300),
    Published("BNB 2: the largest execution",
        "buy 150 @ 100, buy 50 @ 99, buy 300 @ 97, sell 200 @ 97, sell 100 @ 96", 99, 5, 97, 300),
    Published("BNB 3: the least imbalance",
        "buy 300 @ 102, buy 100 @ 100, buy 200 @ 99, buy 300 @ 98, sell 250 @ 98, sell 250 @ 97,"
        " sell 1000 @ 96",
        99, 5, 96, 900),
    Published("BNB 4: the least imbalance",
        "buy 30 @ 102, buy 10 @ 101, buy 50 @ 99, buy 15 @ 96, sell 10 @ 98, sell 50 @ 97, sell 50 @ 95",
        99, 5, 97, 90),
    Published("BNB 5.1: sell surplus, reference 80 less 5 %: the lowest",
        "buy 10 @ 102, buy 10 @ 97, sell 50 @ 95", 80, 4, 95, 20),
    Published("BNB 5.2: sell surplus, reference 100 less 5 %: the highest",
        "buy 10 @ 99, buy 10 @ 94, sell 50 @ 92", 100, 5, 94, 20),
    Published("BNB 5.3: buy surplus, reference 90 plus 5 %, on the tick above",
        "buy 100 @ 99, sell 50 @ 92", 90, 5, 95, 50),
    Published("BNB 5.4: sell surplus, reference 100 less 5 %: in between",
        "buy 10 @ 101, buy 10 @ 96, sell 50 @ 94", 100, 5, 95, 20),
    Published("BNB 6.1: surplus of both kinds, last trade 99",
        "buy 25 @ 100, buy 25 @ 97, sell 25 @ 98, sell 25 @ 95", 99, 5, 99, 25),
    Published("BNB 6.2: surplus of both kinds, last trade 97",
        "buy 25 @ 100, buy 25 @ 97, sell 25 @ 98, sell 25 @ 95", 97, 5, 97, 25),
    Published("ASX: 1,000 shares from 6.10 to 6.39, least surplus from 6.35, buy pressure: 6.39",
        "buy 500 @ 640, buy 500 @ 639, buy 500 @ 639, buy 1000 @ 634, buy 500 @ 633, sell 1000 @ 610,"
        " sell 500 @ 640, sell 520 @ 641, sell 550 @ 642, sell 519 @ 643",
        635, EDGE, 639, 1000, "500 500 0 0 0 1000 0 0 0 0"),
    Published("GRID: the maximum executable volume is 290 at 12400",
        "buy 45 @ 130, buy 95 @ 129, buy 25 @ 128, buy 35 @ 127, buy 25 @ 126, buy 55 @ 125, buy 200 @ 124,"
        " buy 80 @ 123, buy 60 @ 122, sell 10 @ 122, sell 125 @ 123, sell 155 @ 124, sell 90 @ 125,"
        " sell 20 @ 126, sell 10 @ 127, sell 15 @ 128, sell 10 @ 129, sell 50 @ 130, sell 35 @ 131",
        126, 0, 124, 290, "45 95 25 35 25 55 10 0 0 10 125 155 0 0 0 0 0 0 0"),
]
# fmt: on


def parse(text: str, bottom: int, levels: int) -> list[PlainOrder]:
    """Orders of a published example on the grid from `bottom`; every one has an account of its own."""
    orders = []
    for number, item in enumerate(text.split(",")):
        word, quantity, _, limit = item.split()
        side = Side[word.upper()]
        edge = levels - 1 if side is Side.BUY else 0
        tick = edge if limit == "market" else int(limit) - bottom
        orders.append(PlainOrder(f"account-{number}", side, Tick(tick), Lots(int(quantity))))
    return orders
