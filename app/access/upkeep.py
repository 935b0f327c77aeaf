"""What is exchanged with the database once a second, beside all requests: counters, and which keys are in use."""

import asyncio
import logging
from contextlib import suppress
from datetime import date
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.database import Database, now
from app.keys import repository as keys
from app.keys.keyring import Keyring, hour_of
from app.rate_limits import repository as counts
from app.rate_limits.counters import SharedCounters
from app.rate_limits.limiter import Limiter
from app.rate_limits.repository import Hits

log = logging.getLogger(__name__)

PERIOD: Final = 1.0
_SWEEP: Final = 60
"""Periods between two deletions of counters whose windows are over."""


class Upkeep:
    """Keeps the counters of this replica and those of the database together."""

    def __init__(self, database: Database, keyring: Keyring, counters: SharedCounters, limiter: Limiter) -> None:
        self._database = database
        self._keyring = keyring
        self._counters = counters
        self._limiter = limiter
        self._day: date | None = None
        self._periods = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fetch the day's secret, and begin."""
        await self.exchange()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop, after a last exchange."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            with suppress(SQLAlchemyError):
                await self.exchange()

    async def exchange(self) -> None:
        """Do once what is done again and again. Raises SQLAlchemyError, and loses nothing then."""
        hits, used = self._counters.take(), self._keyring.take_used()
        day, moment = now().date(), now()
        sweep, self._periods = self._periods % _SWEEP == 0, self._periods + 1
        if not (hits or used or sweep or day != self._day):
            return

        def work(session: Session) -> tuple[list[Hits], bytes | None]:
            if sweep:
                counts.forget(session, moment)
            if used:
                keys.note_use(session, used, hour_of(moment))
            secret = counts.secret_of(session, day) if day != self._day else None
            return counts.add(session, hits), secret

        try:
            totals, secret = await self._database.write(work)
        except BaseException:
            self._counters.put_back(hits)
            self._keyring.put_back(used)
            raise
        self._counters.learn(totals)
        if secret is not None:
            self._limiter.set_secret(secret)
            self._day = day

    async def _run(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.exchange()
                failing = False
            except SQLAlchemyError as error:
                if not failing:  # once, not every second for as long as it lasts
                    log.warning("counters are not exchanged: %s", type(error).__name__)
                failing = True
