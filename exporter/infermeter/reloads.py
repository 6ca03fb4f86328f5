"""The configuration in force, and what becomes of a new one: read in a thread, judged, and taken over as a whole or not at all."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from infermeter.config import Config
from infermeter.errors import ConfigError, ConfigErrors
from infermeter.parsing.structure import notices
from infermeter.prices.listing import NOTHING_LISTED, Listed
from infermeter.reloading import RestartNeeded, changed_keys

log = logging.getLogger(__name__)

READ_SECONDS: Final = 10.0
"""A disk can hang: then the reload has failed, and so has every other until it turns again."""

TOLD: Final = 20
"""Problems, or keys, that are told one by one."""


class Offer(NamedTuple):
    """A configuration, with what the files that it names list."""

    config: Config
    listed: Listed = NOTHING_LISTED


@dataclass(frozen=True, slots=True)
class Reload:
    """How a running sidecar comes by a new configuration, and when.

    `read` blocks, and raises ConfigErrors or ConfigError for what can't be taken; `asked` is set whenever the operator asks (SIGHUP).
    """

    read: Callable[[], Offer]
    asked: asyncio.Event


class Reloads:
    """Reloads one after the other. `successful` and `loaded_ns` (unix) speak of the last, and of the last that was taken over."""

    def __init__(
        self,
        offer: Offer,
        *,
        read: Callable[[], Offer],
        take: Callable[[Offer], None],
        now_ns: Callable[[], int],
        read_seconds: float = READ_SECONDS,
    ) -> None:
        """`take` puts an offer in force, or raises ConfigErrors or ConfigError, and then has changed nothing."""
        self.successful = True
        self.loaded_ns = now_ns()
        self._offer = offer
        self._read = read
        self._take = take
        self._now_ns = now_ns
        self._read_seconds = read_seconds
        self._one_at_a_time = asyncio.Lock()
        self._reading: asyncio.Future[Offer] | None = None

    async def reload(self) -> tuple[bool, str]:
        """Reads the configuration anew; whether it is in force now, and a line that says so without a word of what the file holds."""
        async with self._one_at_a_time:
            try:
                offer = await self._read_in_time()
                changed = self._changed(offer)
                self._take(offer)
            except (ConfigError, ConfigErrors) as error:
                return False, self._refused(error.problems if isinstance(error, ConfigErrors) else (error,))
            return True, self._taken(offer, changed)

    async def _read_in_time(self) -> Offer:
        """Raises: ConfigErrors, ConfigError."""
        hangs = ConfigError("configuration file", f"wasn't read within {self._read_seconds:g} s")
        if self._reading is not None and not self._reading.done():
            raise hangs
        self._reading = _read_aside(self._read)
        if not (await asyncio.wait((self._reading,), timeout=self._read_seconds))[0]:
            self._reading.add_done_callback(lambda reading: reading.cancelled() or reading.exception())  # nobody asks any more
            raise hangs
        return self._reading.result()

    def _changed(self, offer: Offer) -> Sequence[str]:
        """The keys that change. Raises: ConfigErrors for those that can't."""
        changed, before, now = changed_keys(self._offer.config, offer.config), self._offer.listed, offer.listed
        files = {
            "cost.prices_file": before.prices != now.prices,
            "advice.prices_file": before.candidates != now.candidates,
            "advice.devices_file": before.devices.devices != now.devices.devices,
        }
        return (*changed, *(key for key, is_new in files.items() if is_new and key not in changed))

    def _taken(self, offer: Offer, changed: Sequence[str]) -> str:
        for notice in notices(offer.config):
            if notice not in notices(self._offer.config):
                log.warning("%s", notice)
        self._offer, self.successful, self.loaded_ns = offer, True, self._now_ns()
        text = f"reloaded: {_listed(changed) if changed else 'nothing has changed'}"
        log.info("configuration %s", text)
        return text

    def _refused(self, problems: Sequence[ConfigError]) -> str:
        self.successful = False
        for problem in problems[:TOLD]:
            log.error("configuration not reloaded: %s", problem)
        if len(problems) > TOLD:
            log.error("configuration not reloaded: %d more problems", len(problems) - TOLD)
        log.warning("the old configuration stays in force")
        told = [str(problem) if isinstance(problem, RestartNeeded) else problem.where for problem in problems]
        return f"not reloaded, the old configuration stays in force: {_listed(told)} (the log says more)"


def _read_aside(read: Callable[[], Offer]) -> asyncio.Future[Offer]:
    """What it reads, in a thread for which the end of the process doesn't wait, as it would for an executor's."""
    loop = asyncio.get_running_loop()
    reading: asyncio.Future[Offer] = loop.create_future()

    def settle(outcome: Offer | Exception) -> None:
        if isinstance(outcome, Exception):
            reading.set_exception(outcome)
        else:
            reading.set_result(outcome)

    def run() -> None:
        outcome: Offer | Exception
        try:
            outcome = read()
        except Exception as error:  # noqa: BLE001 - whoever waits for the future has it, also a mistake of ours
            outcome = error
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name="reload", daemon=True).start()
    return reading


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - TOLD} more" if len(texts) > TOLD else ""
    return ", ".join(texts[:TOLD]) + more
