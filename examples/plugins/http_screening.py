"""An example plugin: asks a screening service about every account that registers or places an order.

    [[compliance.plugin]]
    module = "examples.plugins.http_screening"
    settings = {url = "https://screening.example/v1/accounts", timeout_ms = 800, keep_seconds = 600}

It sends POST {"account": "0x…", "market": "WETH-USDC"} and expects {"allowed": true} or
{"allowed": false, "reason": "a sentence"}. Anything else, or nothing in time, is no consent: the plugin
raises, and the venue refuses what was asked for. Answers are kept for a while: most orders come from few
accounts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from compliance.hooks import darkpool_hook
from darkpool import jsontext
from darkpool.errors import ConfigError

MAX_ANSWER: Final = 4096
_MAX_KEPT: Final = 100_000
_NAMES: Final = ("url", "timeout_ms", "keep_seconds")


@dataclass(slots=True)
class _Service:
    url: str
    timeout: float
    keep: int
    client: httpx.Client
    kept: dict[tuple[bytes, str], tuple[float, str | None]]


_services: Final[list[_Service]] = []


class ScreeningError(Exception):
    """The service did not say whether it allows it."""


def setup(settings: Mapping[str, Any]) -> None:
    """Called once with the settings. Raises ConfigError."""
    url, timeout, keep = (settings.get(name) for name in _NAMES)
    if set(settings) - set(_NAMES) or urlsplit(str(url)).scheme not in {"http", "https"}:
        raise ConfigError(f"settings: url, and perhaps {', '.join(_NAMES[1:])}", "give the service's URL")
    seconds = (timeout if isinstance(timeout, int) else 800) / 1000
    client = httpx.Client(timeout=seconds, trust_env=False, follow_redirects=False)
    _services[:] = [_Service(str(url), seconds, keep if isinstance(keep, int) else 600, client, {})]


@darkpool_hook
def register(account: bytes) -> str | None:
    """Before an account is registered."""
    return _asked(account, "")


@darkpool_hook
def submit(account: bytes, market: str) -> str | None:
    """Before an order is verified."""
    return _asked(account, market)


def _asked(account: bytes, market: str) -> str | None:
    """The sentence that objects, or None. Raises ScreeningError, httpx.HTTPError."""
    service, key, now = _services[0], (account, market), time.monotonic()
    if key in service.kept and service.kept[key][0] > now:
        return service.kept[key][1]
    answer = _answer(service, {"account": "0x" + account.hex(), "market": market})
    if len(service.kept) >= _MAX_KEPT:
        service.kept.clear()
    service.kept[key] = now + service.keep, answer
    return answer


def _answer(service: _Service, question: Mapping[str, str]) -> str | None:
    body = b""
    with service.client.stream("POST", service.url, json=question) as response:
        if response.status_code != httpx.codes.OK:
            raise ScreeningError(f"status {response.status_code}")
        for part in response.iter_raw():
            body += part
            if len(body) > MAX_ANSWER:
                raise ScreeningError(f"over {MAX_ANSWER} bytes")
    found = jsontext.parsed(body, "answer")
    if not isinstance(found, dict) or not isinstance(found.get("allowed"), bool):
        raise ScreeningError("it does not say whether it allows it")
    return None if found["allowed"] else str(found.get("reason", "The screening service objects."))
