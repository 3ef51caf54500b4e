"""Plugins of a venue: what else is asked before something happens, or told after it has.

A plugin is a module that the settings name. It may have `setup(settings)`, called once, and implements any of
the hooks of `Hooks` under `@darkpool_hook`. All plugins are called in the order of the settings:

    register   before an account is registered
    submit     before an order that the policy allows is verified, and so before it gets its place in the log
    seal       before a round is sealed, about the accounts of the orders that stand
    settle     after a settlement became final or void
    disclose   before an auditor's query is answered

The first three and the last may object with a sentence for the account. They run in threads of their own, for
a time that the settings bound, all plugins together; what throws or takes longer is an objection too
(`NotScreened`). A thread that hangs is lost, so a plugin must bound its own waiting.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pluggy

from darkpool.errors import ConfigError, OrderRefused
from darkpool.types import Address

PROJECT: Final = "darkpool"
MAX_SENTENCE: Final = 400
_WORKERS: Final = 8

darkpool_hook: Final = pluggy.HookimplMarker(PROJECT)
_spec: Final = pluggy.HookspecMarker(PROJECT)

log = logging.getLogger("darkpool.hooks")


class NotScreened(OrderRefused):
    """A plugin gave no answer, so what was asked for does not happen."""

    def __init__(self, hook: str, problem: str) -> None:
        super().__init__(
            f"screening: {hook}: {problem}", "send it again later, or ask the operator", "not-screened"
        )
        self.args = (hook, problem)


class Hooks:
    """What a plugin may implement, with all or some of the arguments. Accounts are 20 bytes, ids hex."""

    @_spec
    def register(self, account: bytes) -> str | None:
        """May the account register? A sentence that objects, or None."""

    @_spec
    def submit(self, account: bytes, market: str, order: bytes) -> str | None:
        """May the account place an order in a market? order: its hash, 32 bytes."""

    @_spec
    def seal(self, market: str, round: int, accounts: tuple[bytes, ...]) -> Mapping[bytes, str] | None:  # noqa: A002
        """Whose orders may not be sealed: sentences by account. They are released."""

    @_spec
    def settle(self, number: int, state: str, accounts: tuple[bytes, ...]) -> None:
        """A settlement is final: state is "settled" or "void"."""

    @_spec
    def disclose(self, account: bytes, auditor: bytes, basis: str, market: bytes) -> str | None:
        """May a query about the account be answered? basis: "grant" or "policy"."""


class Plugins:
    """The plugins of a venue. seconds: how long one call of all of them may take."""

    def __init__(self, plugins: Sequence[object], seconds: float) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        for plugin in reversed(plugins):  # pluggy calls the one registered last first
            self._manager.register(plugin)
        self._manager.check_pending()
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(_WORKERS, "plugin")

    @classmethod
    def load(cls, modules: Sequence[tuple[str, Mapping[str, Any]]], seconds: float) -> Plugins:
        """Those of modules by name, each set up with its settings. Raises ConfigError naming the module."""
        found = [_loaded(name, settings) for name, settings in modules]
        try:
            return cls(found, seconds)
        except (pluggy.PluginValidationError, ValueError) as error:
            raise ConfigError(
                f"plugins: {error}", "implement the hooks as compliance/hooks.py has them"
            ) from None

    def close(self) -> None:
        """Waits for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ask(self, hook: str, **arguments: object) -> list[Any]:
        """Each plugin's answer that is not None, in order. Raises NotScreened."""
        caller = getattr(self._manager.hook, hook)
        if not caller.get_hookimpls():
            return []
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._seconds):
                return list(await loop.run_in_executor(self._threads, lambda: caller(**arguments)))
        except TimeoutError:
            raise NotScreened(hook, f"no answer in {self._seconds:g} s") from None
        except Exception as error:  # whatever it is, it is no consent
            log.exception("a plugin failed in %s", hook)
            raise NotScreened(hook, f"it failed ({type(error).__name__})") from None

    async def objections(self, hook: str, **arguments: object) -> list[str]:
        """The sentences that object. Raises NotScreened, also for an answer that is no sentence."""
        found = await self.ask(hook, **arguments)
        if not all(isinstance(each, str) for each in found):
            raise NotScreened(hook, "it answered with something else than a sentence")
        return [_short(each) for each in found]

    async def objected(self, market: str, number: int, accounts: Sequence[Address]) -> dict[Address, str]:
        """Whose orders may not be sealed, each with the first sentence that objects. Raises NotScreened."""
        found: dict[Address, str] = {}
        for answer in await self.ask("seal", market=market, round=number, accounts=tuple(accounts)):
            if not isinstance(answer, Mapping):
                raise NotScreened("seal", "it answered with something else than sentences by account")
            for account, sentence in answer.items():
                if not isinstance(sentence, str):
                    raise NotScreened("seal", "it answered with something else than sentences by account")
                if account in accounts:  # a plugin may answer with all it knows
                    found.setdefault(account, _short(sentence))
        return found


def _loaded(name: str, settings: Mapping[str, Any]) -> object:
    hint = "correct the settings' [[compliance.plugin]]"
    try:
        plugin = importlib.import_module(name)
        if hasattr(plugin, "setup"):
            plugin.setup(settings)
    except (ConfigError, ImportError) as error:
        raise ConfigError(f"plugin {name}: {error}", hint) from None
    except Exception as error:  # whatever a plugin raises, the venue does not start without it
        raise ConfigError(f"plugin {name}: it failed ({type(error).__name__})", hint) from error
    if settings and not hasattr(plugin, "setup"):
        raise ConfigError(f"plugin {name}: it takes no settings", hint)
    return plugin


def _short(sentence: str) -> str:
    text = "".join(c if c.isascii() and c.isprintable() else " " for c in sentence)[:MAX_SENTENCE].strip()
    return text or "A plugin objects."
