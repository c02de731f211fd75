# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The cache that many proxies share: Redis or Valkey, asked on threads of our own, each look-up with one deadline.

An answer here is a value or "no answer": nothing that Redis does, or does not, raises, and nobody waits longer than
`redisTimeout`, connection and thread included. After the first failure Redis counts as *away*: nobody asks it, a task
knocks until it answers, says what is owed (purges first) and only then lets others ask again. So an outage costs one
visitor one wait, not every visitor one. What is read is verified before it is believed, and dropped where it lies.
Visitors take turns at the threads, and who would come too late is told nothing, which does not make Redis away: however
many questions one visitor causes, those of others are asked next.
"""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

import resp
from addon.net.call_meter import CallMeter
from addon.net.fair_queue import Dropped, FairQueue, Party, TooLate, account
from addon.net.tracing import question
from addon.settings.schema import Settings
from addon.shared import added_locks, reads, records, writes
from addon.shared.lookup import Key, Lookup, Wanted
from addon.shared.reads import GUESSED_BRANCH, Held
from addon.shared.round_trips import EPOCH_LIFE, NoAnswer, RoundTrips, checked_replies, milliseconds
from addon.shared.signatures import RecordKey
from addon.shared.writes import LARGEST_SITE, Work

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOCK_LIFE: Final = 10.0
"""Seconds after which a look that died lets others look."""
MOST_PENDING: Final = 16 * 1024 * 1024
"""Bytes that wait for Redis to come back."""
_BATCH = 2 * 1024 * 1024
_PATIENCE: Final = 0.5
"""How much of the time for an answer may be over before Redis is asked; who waits longer does without."""
SAID_AGAIN: Final = 30.0
"""Seconds for which a purge is said again to a server that takes another's place: longer than any failover takes."""
_TOUCH_SECONDS = 30.0
_KNOCK_FIRST, _KNOCK_MOST = 0.05, 2.0
_COMPLAIN_SECONDS = 30.0
_REFUSED_SEEN = 30.0


def client_of(settings: Settings, observer: resp.Observer | None = None) -> resp.Client | None:
    """A client of the Redis that the settings name, if they name one. Raises resp.InvalidArgument."""
    if not settings.names_redis:
        return None
    password, watched_by = settings.redis_password, settings.redis_sentinel_password
    options: dict[str, Any] = {
        "db": settings.redis_db,
        "username": settings.redis_username,
        "password": None if password is None else password.reveal(),
        "ssl": settings.redis_tls,
        "ssl_ca_certs": None if settings.redis_ca_file is None else str(settings.redis_ca_file),
        "timeout": settings.redis_timeout,
        "connect_timeout": settings.redis_timeout,
        "wait_timeout": min(settings.redis_conn_wait_timeout, settings.redis_timeout),
        "pool_size": settings.redis_pool_size,
        "max_connections": settings.redis_max_connections,
        "max_bulk": max(LARGEST_SITE, settings.max_shared_file_size) + 1,
        "client_name": "forgejo-pages",
        "observer": observer,
        "breaker": False,  # that of `SharedCache` knows what is owed before anybody asks again
        "sentinel_username": settings.redis_sentinel_username,
        "sentinel_password": None if watched_by is None else watched_by.reveal(),
    }
    if settings.redis_cluster:
        options["cluster"] = True
    if settings.redis_url is not None:
        return resp.Client.from_url(settings.redis_url.reveal(), **options)
    if settings.redis_sentinels:
        options |= {"sentinels": settings.redis_sentinels, "sentinel_master": settings.redis_sentinel_master}
        return resp.Client(**options)
    return resp.Client((settings.redis_host or "").strip("[]"), settings.redis_port, **options)


class SharedCache:
    """The shared level. All coroutines return None (or False) where Redis gives no answer; lives on the event loop."""

    def __init__(
        self,
        client: resp.Client,
        *,
        timeout: float,
        life: float,
        largest_file: int,
        threads: int,
        record_key: RecordKey,
        returned: Callable[[], object] = lambda: None,
    ) -> None:
        """timeout: seconds for one look-up. life: seconds that refs stay. largest_file: bytes of a file that is shared.

        record_key: signs what is written. returned: called when Redis answers again after having been away.
        """
        self.client = client
        self.timeout = timeout
        self.life = life
        self.largest_file = largest_file
        self.record_key = record_key
        self.away = False
        """Whether Redis did not answer a moment ago; then nothing asks it but the task that knocks."""
        self.returned = returned
        self.meter = CallMeter()
        """How long jobs took, with the wait for a thread, as who waits for them sees it."""
        self.metrics: resp.Metrics | None = None
        """What the client counts of commands, where it is one of the settings."""
        self.trips = 0
        """Round trips made so far."""
        self.turns = FairQueue(threads, most_each=-(-3 * threads // 4), expected=0.002)
        """Where jobs wait for a thread: a visitor alone, however much it asks for, leaves some to the others."""
        self._threads = ThreadPoolExecutor(threads, "pages-redis")
        self._under_way = 0
        self._closing = False
        self._knocking: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._owed: dict[Key | None, str] = {}  # epochs that Redis has not got yet
        self._said: dict[Key | None, tuple[str, float]] = {}  # the last ones that it got, and when
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pending: OrderedDict[str, bytes | Lookup] = OrderedDict()
        self._pending_bytes = 0
        self._touched: set[str] = set()
        self._complained: dict[str, float] = {}
        self._refused_until = 0.0

    @classmethod
    def of(cls, settings: Settings) -> "SharedCache | None":
        """The shared level that the settings name, if they name one. Raises resp.InvalidArgument."""
        metrics = resp.Metrics()
        client = client_of(settings, metrics)
        if client is None:
            return None
        shared = cls(
            client,
            timeout=settings.redis_timeout,
            life=max(settings.stale_ttl, 2 * settings.cache_ttl) + 60.0,
            largest_file=settings.max_shared_file_size,
            threads=min(settings.redis_max_connections, 16),
            record_key=RecordKey.of(settings),
        )
        shared.metrics = metrics
        return shared

    @property
    def refuses_writes(self) -> bool:
        """Whether Redis refused to write a moment ago: it is full, or no primary."""
        return time.monotonic() < self._refused_until + _REFUSED_SEEN

    def start(self) -> None:
        """Begin to tend what was used; on the loop."""
        self._tending = asyncio.ensure_future(self._tend())

    async def aclose(self) -> None:
        """Stop asking. What is still to be written is written, if that is quick."""
        await self.flush()
        self._closing = True
        for task in (self._knocking, self._tending):
            if task is not None:
                task.cancel()
        self.client.close()
        self._threads.shutdown(wait=False)

    # What is asked.

    async def look(self, key: Key, known: Lookup | None, wanted: Wanted | None) -> Held | None:
        """What Redis holds of a repository: in one trip; two, or three for the page's bytes, where nothing is known.

        known: what memory has; contents of its commit are not read again. wanted: the path that a visitor waits for.
        """
        branch, commit, called = GUESSED_BRANCH, None, None
        if known is not None and known.repository is not None:
            branch, called = known.repository.default_branch, records.password_place(known.repository)
            commit = known.commit if known.fault in records.STORED else None
        return await self._run(lambda trips: reads.look(trips, key, branch, commit, wanted, called), kept=False)

    async def added_lock(self, place: Key) -> str | None:
        """The hash that stands in Redis as a site's password; place: as `records.password_place` says."""
        return await self._run(lambda trips: added_locks.added_lock(trips, place), kept=False)

    async def blobs(self, wanted: Iterable[tuple[str, int]]) -> dict[str, bytes]:
        """Those of the files (ids and sizes) that Redis has, verified against their ids, in one trip."""
        names = {records.blob_key(blob_id): (blob_id, size) for blob_id, size in wanted if size <= self.largest_file}
        if not names:
            return {}
        return await self._run(lambda trips: reads.blobs(trips, names), kept=False) or {}

    async def lfs_object(self, key: Key, oid: str, size: int) -> bytes | None:
        """The bytes of a Git LFS object, verified."""
        if size > self.largest_file:
            return None
        name = records.object_key(key, oid)
        return await self._run(lambda trips: reads.lfs_object(trips, name, oid, size), kept=False)

    async def run(self, job: Callable[[RoundTrips], T]) -> T | None:
        """What a job of somebody else's says, run on a thread; None where Redis gives no answer in time."""
        return await self._run(job)

    # What is written.

    def keep_blob(self, blob_id: str, data: bytes) -> None:
        """Write a file's bytes with the next that is written, or soon."""
        if len(data) <= self.largest_file:
            self._later(records.blob_key(blob_id), data)

    async def keep_contents(self, lookup: Lookup) -> None:
        """The same for what a commit is, of a lookup that is not to be stored itself."""
        stored = lookup.fault in records.STORED and records.site_record_size(lookup) <= LARGEST_SITE
        if stored and lookup.commit is not None:
            name = records.site_key(lookup.key, lookup.commit)
            data = await self._run(lambda trips: trips.record_key.signed(name, records.site_record(lookup)))
            if data is not None and len(data) <= LARGEST_SITE:
                self._later(name, data)

    def keep_object(self, key: Key, oid: str, data: bytes) -> None:
        """The same for a Git LFS object."""
        if len(data) <= self.largest_file:
            self._later(records.object_key(key, oid), data)

    async def store(self, lookup: Lookup, held: Held, token: str, going: Iterable[str] = ()) -> bool | None:
        """Write what a look at Forgejo found, with the files it brought, in one trip; lets go of the lock `token`.

        going: ids of the files of a repository that is gone. False: it was purged since `held` was read, so what was
        found may be older than that, and it was not written.
        """
        work = self._taken()
        return await self._run(
            lambda trips: writes.store(trips, lookup, held, token, work, going), lambda: self._give(work)
        )

    def store_later(self, lookup: Lookup) -> None:
        """Write, when Redis answers again, what was found while it was away."""
        if lookup.fault in records.STORED and lookup.trouble is None and lookup.commit is not None:
            self._pending[records.repository_key(lookup.key)] = lookup

    async def lock(self, key: Key) -> str | None:
        """The token of the lock on looking at a repository; "" where another proxy has it."""
        token = secrets.token_hex(8)
        got = await self._run(lambda trips: writes.lock(trips, key, token, LOCK_LIFE))
        return None if got is None else token if got else ""

    async def locked(self, key: Key) -> bool | None:
        """Whether any proxy looks at a repository."""
        return await self._run(lambda trips: trips.ask("EXISTS", records.lock_key(key)) == 1)

    async def unlock(self, key: Key, token: str) -> None:
        """Let go of a lock without having anything to write."""
        await self._run(lambda trips: writes.unlock(trips, key, token))

    async def purge(self, key: Key | None) -> bool:
        """Make all proxies look again at a repository, or at everything; False: as soon as Redis answers."""
        self._owed[key] = secrets.token_hex(8)
        self._said.pop(key, None)
        if self.away:
            return False
        done = await self._run(self._pay)
        if done is None and not self.away:
            self._lost("a purge was not taken")
        return bool(done)

    async def flush(self) -> None:
        """Write what waits: files, and what was found while Redis was away."""
        work = self._taken()
        if work:
            await self._run(lambda trips: writes.flush(trips, work), lambda: self._give(work))

    # What waits.

    def _pay(self, trips: RoundTrips) -> bool:
        """Say what was purged."""
        owed = dict(self._owed)
        commands = [("SET", records.epoch_key(key), word, "PX", milliseconds(EPOCH_LIFE)) for key, word in owed.items()]
        if commands:
            checked_replies(trips.run(commands))
        now = time.monotonic()
        for key, word in owed.items():
            if self._owed.get(key) == word:
                del self._owed[key]
            self._said.setdefault(key, (word, now))
        return True

    def say_again(self) -> None:
        """Say the purges of the last seconds once more: the server that took over may never have got them."""
        self._said = {key: told for key, told in self._said.items() if time.monotonic() - told[1] < SAID_AGAIN}
        for key, (word, _) in self._said.items():
            self._owed.setdefault(key, word)
        if self._said:
            saying = asyncio.ensure_future(self._run(self._pay))
            self._tasks.add(saying)
            saying.add_done_callback(self._tasks.discard)

    def _later(self, name: str, data: bytes) -> None:
        if name in self._pending:
            return
        self._pending[name] = data
        self._pending_bytes += len(data)
        while len(self._pending) > 1 and (self._pending_bytes > MOST_PENDING or len(self._pending) > 10_000):
            _, dropped = self._pending.popitem(last=False)
            self._pending_bytes -= len(dropped) if isinstance(dropped, bytes) else 0

    def _taken(self) -> Work:
        """What is to be written next, no more at once than can be said in time."""
        work: Work = {}
        size = 0
        while self._pending and size < _BATCH:
            name, value = self._pending.popitem(last=False)
            work[name] = value
            size += len(value) if isinstance(value, bytes) else 64 * 1024
            self._pending_bytes -= len(value) if isinstance(value, bytes) else 0
        return work

    def _give(self, work: Work) -> None:
        """Take back what was not written."""
        for name, value in work.items():
            if isinstance(value, bytes):
                self._later(name, value)
            else:
                self._pending.setdefault(name, value)

    async def _tend(self) -> None:
        """Now and then: write what nobody's look took along, and lengthen the life of what was used."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.2)
            if self.away:
                continue
            if time.monotonic() >= self._refused_until:
                await self.flush()
            if self._touched and time.monotonic() - last > _TOUCH_SECONDS:
                last = time.monotonic()
                names, self._touched = self._touched, set()
                await self._run(partial(writes.touch, names=names))

    # Jobs, and what becomes of them.

    async def _run(
        self,
        job: Callable[[RoundTrips], T],
        failed: Callable[[], object] | None = None,
        *,
        knocking: bool = False,
        kept: bool = True,
    ) -> T | None:
        """What a job says, run on a thread of ours; None where it does not say so in time. failed: called then.

        kept: whether it is run also where nobody waits for it any more.
        """
        if (self.away and not knocking) or self._closing:
            if failed is not None:
                failed()
            return None
        deadline = time.monotonic() + self.timeout
        try:
            name, began = _named(job), time.perf_counter()
            party = account()
            turn = self.turns.turn(_PATIENCE * self.timeout, party=Party(party.visitor or party.owner), kept=kept)
            with question("Redis", name) as asked:
                try:
                    async with turn, asyncio.timeout(deadline - time.monotonic()):
                        answer = await self._on_thread(job, deadline)
                    asked.came_to = "nothing" if answer is None else "an answer"
                finally:
                    self.meter.measure("job", "200" if asked.came_to else "", time.perf_counter() - began)
            return answer
        except (TooLate, Dropped):
            pass
        except TimeoutError:
            self._lost(f"no answer within {self.timeout:g} s")
        except (resp.WritesRefused, resp.ReadOnly) as error:
            self._refused_until = time.monotonic() + 1.0
            self._complain(f"it refuses to write: {error.code}")
        except (resp.NoPermission, resp.ProtocolError) as error:
            self._complain(str(error) if isinstance(error, resp.ProtocolError) else "it does not permit what we need")
        except (resp.ConnectionLost, resp.Timeout, resp.AuthenticationError, resp.TemporaryError) as error:
            self._lost(error.code if isinstance(error, resp.ServerError) else str(error))
        except resp.RespError as error:
            self._complain(f"{type(error).__name__}")
        except NoAnswer:
            pass
        except Exception:
            logger.exception("internal error in the shared cache")
        if failed is not None:
            failed()
        return None

    def _job(self, job: Callable[[RoundTrips], T], deadline: float) -> T:
        trips = RoundTrips(
            self.client,
            deadline,
            life=self.life,
            largest_file=self.largest_file,
            touched=self._touched,
            record_key=self.record_key,
        )
        try:
            return job(trips)
        finally:
            self.trips += trips.made

    async def _on_thread(self, job: Callable[[RoundTrips], T], deadline: float) -> T:
        self._under_way += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._job, job, deadline)
        future.add_done_callback(self._done)
        return await future

    def _done(self, future: "asyncio.Future[Any]") -> None:
        self._under_way -= 1
        if not future.cancelled():
            future.exception()

    def _complain(self, reason: str) -> None:
        now = time.monotonic()
        if now - self._complained.get(reason, -1e9) > _COMPLAIN_SECONDS:
            if len(self._complained) > 100:
                self._complained.clear()
            self._complained[reason] = now
            logger.warning("redisHost: %s", reason)

    def _lost(self, reason: str) -> None:
        if self.away or self._closing:
            return
        self.away = True
        self._complain(f"{reason}; pages come from memory and Forgejo until it answers")
        self._knocking = asyncio.ensure_future(self._knock())

    async def _knock(self) -> None:
        pause = _KNOCK_FIRST
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _KNOCK_MOST)
            if await self._run(self._greet, knocking=True):
                break
        self.away = False
        logger.info("Redis answers again")
        self.returned()

    def _greet(self, trips: RoundTrips) -> bool:
        reply = trips.ask("GET", records.epoch_key(None))
        if isinstance(reply, resp.ServerError) and not isinstance(reply, resp.WrongType):
            raise reply
        if trips.clustered:
            trips.everywhere("DBSIZE")  # all nodes, or what they hold is missed again and again
        return self._pay(trips) if self._owed else True


def _named(job: Callable[..., object]) -> str:
    """What a job does, by the name of its function: that of whoever asked for it, where it is a lambda."""
    function = job.func if isinstance(job, partial) else job
    parts = [part for part in getattr(function, "__qualname__", "").split(".") if part and part[0] != "<"]
    return parts[-1].strip("_").replace("_", " ") if parts else "job"
