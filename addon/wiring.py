# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Where the parts are put together: `Settings` in, an `Application` out that is whole or does not exist.

Knows how each wing's parts are made, what they have to know of each other, and nothing of mitmproxy: which sockets they
are reached by is the affair of `plugin` and `mitm/`. Each function makes the parts of one wing and tells an exit stack
how they are closed. So the end is the beginning backwards, and a start that fails half-way closes what it has opened,
without a second list. Commands and tests take from here the groups they need, and are thereby made as the server is.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypedDict, Unpack

import resp
from addon import __version__
from addon.access.control import AT_ONCE as HASHED_AT_ONCE
from addon.access.control import Access
from addon.access.member_cookies import BEGUN_LIFE
from addon.access.sealing import Sealer
from addon.access.signing_key import KeyFault, SigningKey, Source, kept_key, signing_key
from addon.admin.access_log import AccessLog
from addon.admin.answer_meter import AnswerMeter
from addon.admin.cache_warming import CacheWarmer, Warmed
from addon.admin.changes import Changes
from addon.admin.component_health import HealthMonitor
from addon.admin.component_metrics import MeteredComponents
from addon.admin.explain import Explainer
from addon.admin.listener import Admin
from addon.admin.operations import FaceNumbers, PagesOperations
from addon.admin.process_metrics import own_process
from addon.admin.push_times import PushTimes
from addon.admin.webhook import Webhook
from addon.domains.desired_domains import Prover
from addon.domains.dns import Dns
from addon.domains.dns_proof import DnsProver
from addon.domains.names import DomainNames
from addon.domains.registration import CustomDomains
from addon.domains.resolver import Domains
from addon.domains.store import DomainStore
from addon.forgejo.client import Forgejo
from addon.library.deploy_previews import DeployPreviews
from addon.library.library import Library
from addon.library.preview_reports import PreviewReports
from addon.library.reading_rights import Readers
from addon.net import spans, tracing
from addon.net.clocks import SYSTEM, Clock, Clocks
from addon.net.thread_priority import lower_priority
from addon.process.loop_watch import LoopWatch
from addon.process.worker import Bus, Worker
from addon.serving.acme_challenges import Challenges
from addon.serving.member_login import CALLBACK_PATH, MOST_BEGUN, MOST_BEGUN_EACH, TICKET_LIFE, MemberLogin
from addon.serving.members import Members
from addon.serving.server import PagesServer
from addon.settings.schema import Settings
from addon.shared.cache import SharedCache
from addon.shared.domain_mappings import Mapping as Mapped
from addon.shared.domain_mappings import host_of
from addon.shared.guess_counts import GuessesShared
from addon.shared.login_key import KeptInStep, KeyInRedis
from addon.shared.lookup import Key, Lookup, key_of
from addon.shared.member_sessions import MemberSessions
from addon.shared.one_use import OneUse
from addon.shared.signatures import FILE_NAME as KEY_FILE
from addon.sites.pages_file import PagesFile
from addon.web.forwarding import HOP_HEADER, Forwarding

_WARM_BEHIND = 300.0
"""Seconds that a site may take to be made ready where nobody waits for it."""
_COLD_MEMORY = 64 * 1024 * 1024


class CannotStart(Exception):
    """A part cannot be made; says which option is at fault, and why."""


@dataclass(frozen=True, slots=True)
class Application:
    """All that one process serves with, running. Closed by `aclose`, once."""

    settings: Settings
    sources: "Sources"
    custom_domains: "CustomDomainParts"
    access: Access
    server: PagesServer
    forwarding: Forwarding
    changes: Changes
    webhook: Webhook
    pushes: PushTimes
    access_log: AccessLog | None
    bus: Bus
    loop_watch: LoopWatch
    meter: AnswerMeter
    worker: Worker | None
    _closing: AsyncExitStack = field(repr=False)

    async def aclose(self) -> None:
        """End all parts, the last made first; one that fails keeps none of the others from their end."""
        await self._closing.aclose()


async def application(settings: Settings, worker: Worker | None = None) -> Application:
    """Make and start all parts, on the loop that serves. worker: this process among its siblings.

    Raises CannotStart; nothing is left open then, whatever was raised.
    """
    async with AsyncExitStack() as stack:
        record_spans(stack)
        access_log = open_access_log(stack, settings)
        bus, forwarding = Bus(worker), Forwarding(settings)
        shared = shared_of(settings)
        sources = open_sources(stack, settings, shared, headers=[(HOP_HEADER, forwarding.hop)])
        store, resolver = open_resolver(stack, sources)
        dns = open_dns(stack, settings)
        prover = DnsProver(settings, dns)
        registration = open_registration(stack, sources, store, resolver, prover)
        changes = Changes(registration, sources.library, bus)
        stack.push_async_callback(bus.aclose)  # what siblings say is heard for as long as there is who does it
        await bus.start(registration.purge, sources.library.hint, registration.registry.pushed)
        if shared is None and settings.enable_custom_domains:
            registration.registry.told = lambda key: bus.tell("settle", key)
        access = open_access(stack, sources, *await settled_key(settings, shared))
        previews = open_previews(stack, sources, worker)
        server = open_server(stack, sources, access, resolver, previews)
        meter = AnswerMeter()
        server.visited, server.measured = registration.visited, meter.measure
        server.reports.domains = registration.states
        webhook = Webhook(settings, changes.purge)
        pushes = PushTimes(lambda key: sources.library.peek(key) is not None, sources.clocks.monotonic)
        webhook.pushed = pushes.pushed
        sources.library.looked = told_both(sources.library.looked, pushes.seen)
        loop_watch = open_loop_watch(stack, bus)
        domains = CustomDomainParts(store, resolver, dns, prover, registration)
        parts = (
            sources,
            domains,
            access,
            server,
            forwarding,
            changes,
            webhook,
            pushes,
            access_log,
            bus,
            loop_watch,
            meter,
            worker,
        )
        app = Application(settings, *parts, closing := AsyncExitStack())
        closing.push_async_exit(stack.pop_all())  # all is there, so nothing is closed before `aclose`
        return app


def record_spans(stack: AsyncExitStack) -> None:
    """Where the environment asks for it, spans are recorded until the end."""
    recorder = spans.started(os.environ)
    if recorder is not None:
        tracing.record(recorder)
        stack.push_async_callback(asyncio.to_thread, recorder.close)
        stack.callback(tracing.record, None)


def told_both(one: Callable[[Lookup], object], other: Callable[[Lookup], object]) -> Callable[[Lookup], object]:
    """Who tells two of each look."""

    def told(lookup: Lookup) -> None:
        one(lookup)
        other(lookup)

    return told


# ---- where sites come from: forgejo, shared, library -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sources:
    """What is known of repositories and their files."""

    settings: Settings
    executor: ThreadPoolExecutor
    forgejo: Forgejo
    shared: SharedCache | None
    library: Library
    clocks: Clocks


class ForgejoOptions(TypedDict, total=False):
    """What no setting says of a client of Forgejo; all as for `Forgejo`."""

    headers: Sequence[tuple[str, str]]
    unknown_share: int | None
    on_call: Callable[[str], None] | None


def open_sources(
    stack: AsyncExitStack,
    settings: Settings,
    shared: SharedCache | None,
    *,
    threads: int | None = None,
    clocks: Clocks = SYSTEM,
    **options: Unpack[ForgejoOptions],
) -> Sources:
    """Forgejo, and a library over it and over `shared`, which is closed with the library. threads: not `workers`."""
    executor = open_executor(stack, threads or settings.workers)
    forgejo = open_forgejo(stack, settings, executor, clock=clocks.monotonic, **options)
    library = Library(settings, forgejo, executor, shared=shared, clocks=clocks)
    stack.push_async_callback(library.aclose)
    if library.shared_looks is not None:
        library.shared_looks.start()
    return Sources(settings, executor, forgejo, shared, library, clocks)


def open_executor(stack: AsyncExitStack, threads: int, *, behind: bool = False) -> ThreadPoolExecutor:
    """The threads for work that would hold up the loop. behind: the loop goes first where cores are few."""
    executor = ThreadPoolExecutor(threads, "pages", initializer=lower_priority if behind else None)
    stack.callback(executor.shutdown, wait=False, cancel_futures=True)
    return executor


def open_forgejo(
    stack: AsyncExitStack,
    settings: Settings,
    executor: ThreadPoolExecutor | None,
    *,
    clock: Clock = time.monotonic,
    **options: Unpack[ForgejoOptions],
) -> Forgejo:
    """A client of the Forgejo that the settings name."""
    forgejo = Forgejo(
        settings.forgejo_host,
        settings.forgejo_token.reveal() if settings.forgejo_token is not None else None,
        timeout=settings.forgejo_timeout,
        concurrency=settings.forgejo_connections,
        lfs_storage_hosts=settings.lfs_storage_hosts,
        ca_file=settings.forgejo_ca_file,
        executor=executor,
        clock=clock,
        **options,
    )
    stack.push_async_callback(forgejo.aclose)
    return forgejo


def shared_of(settings: Settings) -> SharedCache | None:
    """What the settings' Redis is reached by; None where they name none. Raises CannotStart.

    It opens nothing before it is asked something.
    """
    try:
        return SharedCache.of(settings)
    except resp.InvalidArgument as error:
        raise CannotStart(f"Redis: {error}") from None


# ---- custom domains --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CustomDomainParts:
    """Where mappings stand, who knows them, and who makes them."""

    store: DomainStore
    resolver: Domains
    dns: Dns
    prover: DnsProver
    registration: CustomDomains


def open_store(stack: AsyncExitStack, shared: SharedCache | None) -> DomainStore:
    """Where mappings stand: in Redis, or in memory."""
    store = DomainStore(shared)
    stack.push_async_callback(store.aclose)
    return store


def open_resolver(stack: AsyncExitStack, sources: Sources) -> tuple[DomainStore, Domains]:
    """The store, and what it says of hosts, in memory.

    Redis tells the library of changes, which passes on what is about hosts; and the library is asked whether a site
    still names a host.
    """
    library, looks = sources.library, sources.library.shared_looks
    store = open_store(stack, sources.shared)
    resolver = Domains(
        store,
        library.memory,
        memory_ttl=sources.settings.memory_ttl,
        told=lambda: looks is None or looks.live,
        away=lambda: looks is not None and looks.shared.away,
    )
    stack.push_async_callback(resolver.aclose)
    names = DomainNames(sources.settings)

    async def claims(host: str, mapping: Mapped) -> bool:
        key = key_of(mapping.owner, mapping.repository)
        lookup = library.peek(key) or await library.look(key)
        rules = await library.governing(lookup) or PagesFile()
        return names.hosts_of(rules).get(host, "") == mapping.branch

    def changed(name: bytes | None) -> None:
        host = None if name is None else host_of(name)
        if name is None:
            resolver.everything()
        elif host is not None:
            resolver.changed(host)

    resolver.claims = claims
    if looks is not None:
        looks.others = changed
    return store, resolver


def open_dns(stack: AsyncExitStack, settings: Settings) -> Dns:
    """Who asks name servers."""
    dns = Dns(settings.dns_resolvers)
    stack.push_async_callback(dns.aclose)
    return dns


def open_registration(
    stack: AsyncExitStack, sources: Sources, store: DomainStore, resolver: Domains, prover: Prover | None
) -> CustomDomains:
    """Who registers what sites name; it has begun."""
    registration = CustomDomains(
        sources.settings,
        sources.library,
        sources.forgejo,
        store,
        resolver,
        prover,
        sources.clocks,
    )
    registration.start()
    stack.push_async_callback(registration.aclose)
    return registration


# ---- locked sites ----------------------------------------------------------------------------------------------------


async def settled_key(settings: Settings, shared: SharedCache | None) -> tuple[SigningKey, KeyInRedis | None]:
    """What logins are signed with, and where proxies find it unless the operator named it. Raises CannotStart."""
    secret = settings.auth_secret_key
    place = KeyInRedis(shared) if shared is not None else None
    try:
        key = await signing_key(secret.reveal() if secret is not None else None, settings.state_dir, place)
    except KeyFault as fault:
        raise CannotStart(str(fault)) from None
    return key, None if key.source is Source.SETTINGS else place


def open_access(stack: AsyncExitStack, sources: Sources, key: SigningKey, place: KeyInRedis | None = None) -> Access:
    """Who may see a locked site. place: where the key is kept in step with other proxies."""
    shared = sources.shared
    guesses = GuessesShared(shared, key, sources.clocks.monotonic) if shared is not None else None
    # Threads of their own: a hash takes a core for tenths of a second, and what needs a moment would wait behind it.
    hashers = open_executor(stack, HASHED_AT_ONCE, behind=True)
    access = Access(
        key, sources.settings.auth_cookie_duration, hashers, guesses=guesses, clocks=Clocks(sources.clocks.monotonic)
    )
    stack.push_async_callback(access.aclose)
    if place is not None:
        in_step = KeptInStep(key, place, access.adopt)
        in_step.start()
        stack.push_async_callback(in_step.aclose)
    return access


def open_members(stack: AsyncExitStack, sources: Sources, access: Access) -> Members | None:
    """Who may see sites that are for members; None where the operator has not set up their login. Raises CannotStart.

    What is sealed is so with `authSecretKey`, else with the key in `stateDir` that signs records: never with one that
    stands in Redis beside it.
    """
    settings, shared = sources.settings, sources.shared
    if settings.oauth_client_id is None or settings.oauth_client_secret is None:
        return None
    try:
        secret = settings.auth_secret_key
        key = (
            secret.reveal().encode("utf-8", "surrogatepass")
            if secret is not None
            else kept_key(settings.state_dir, KEY_FILE)
        )
    except KeyFault as fault:
        raise CannotStart(str(fault)) from None
    sealer = Sealer(key, b"members 1")
    domain, clock = settings.pages_domain, sources.clocks.monotonic
    oauth = sources.forgejo.oauth(
        settings.oauth_client_id, settings.oauth_client_secret.reveal(), f"https://{domain}{CALLBACK_PATH}"
    )
    most, each = MOST_BEGUN, MOST_BEGUN_EACH
    login = MemberLogin(
        domain,
        oauth,
        sealer,
        MemberSessions(sealer, shared, sources.clocks.now),
        OneUse("login", BEGUN_LIFE, sealer, shared, most=most, most_each=each, clock=clock),
        OneUse("ticket", TICKET_LIFE, sealer, shared, most=most, most_each=each, clock=clock),
        settings.auth_cookie_duration,
        sources.clocks,
    )
    stack.push_async_callback(login.aclose)
    readers = Readers(sources.forgejo, sources.library.memory, clock)
    stack.push_async_callback(readers.aclose)
    return Members(login, readers, lambda: access.guesses, sources.clocks)


# ---- processes -------------------------------------------------------------------------------------------------------


def open_loop_watch(stack: AsyncExitStack, bus: Bus) -> LoopWatch:
    """Who measures the event loop, and tells the supervisor that it goes on."""
    watch = LoopWatch(bus.beat)
    watch.silent = True  # until we listen: to make keys and certificates takes its time
    stack.push_async_callback(watch.aclose)
    watch.start()
    return watch


# ---- serving, and those who look after it ----------------------------------------------------------------------------


def open_previews(stack: AsyncExitStack, sources: Sources, worker: Worker | None = None) -> DeployPreviews | None:
    """Who knows the previews of branches, commits and pull requests, and tells of them; None where there are none."""
    settings, library = sources.settings, sources.library
    if settings.preview_domain is None:
        return None
    previews = DeployPreviews(settings, sources.forgejo, library, sources.clocks)
    stack.push_async_callback(previews.aclose)
    library.purged = previews.changed
    if settings.preview_token is not None and (worker is None or not worker.number):
        statuses = sources.forgejo.statuses(settings.preview_token.reveal())
        reports = PreviewReports(settings.preview_domain, sources.forgejo.pulls, statuses, previews, sources.shared)
        previews.looked, previews.eager = reports.looked, lambda key: True
        stack.push_async_callback(reports.aclose)
    return previews


def open_server(
    stack: AsyncExitStack,
    sources: Sources,
    access: Access,
    resolver: Domains | None,
    previews: DeployPreviews | None = None,
) -> PagesServer:
    """Who answers requests, with the operator's ACME client where there is one."""
    challenges = None
    if sources.settings.acme_challenge_upstream is not None:
        challenges = Challenges(sources.settings.acme_challenge_upstream)
        stack.push_async_callback(challenges.aclose)
    access.adopted = sources.library.renew
    members = open_members(stack, sources, access)
    return PagesServer(
        sources.settings,
        sources.library,
        access,
        resolver,
        challenges=challenges,
        members=members,
        previews=previews,
        now=sources.clocks.now,
    )


@asynccontextmanager
async def cold_server(app: Application) -> AsyncIterator[PagesServer]:
    """A server beside the one of an application that knows nothing of any repository, and tells nobody what it learns.

    It asks Forgejo, and not Redis, which is why it sees no lock that stands there alone; domains are known as ever.
    """
    sources, small = app.sources, min(app.settings.memory_cache_size, _COLD_MEMORY)
    settings = replace(app.settings, memory_cache_size=small, lane=False)
    library = Library(settings, sources.forgejo, sources.executor, clocks=sources.clocks)
    previews = None
    if settings.preview_domain is not None:
        previews = DeployPreviews(settings, sources.forgejo, library, sources.clocks)
    knows = (library, app.access, app.custom_domains.resolver)
    try:
        yield PagesServer(settings, *knows, members=app.server.members, previews=previews, now=sources.clocks.now)
    finally:
        if previews is not None:
            await previews.aclose()
        await library.aclose()


def open_access_log(stack: AsyncExitStack, settings: Settings) -> AccessLog | None:
    """The access log, where one is wanted. Raises CannotStart."""
    if settings.access_log is None:
        return None
    try:
        log = AccessLog(
            None if settings.access_log == "stderr" else settings.access_log,
            settings.access_log_format,
            anonymous=settings.access_log_anonymize,
        )
    except OSError as error:
        raise CannotStart(f"accessLog: {error}") from None
    stack.callback(log.close)
    return log


async def open_admin(
    stack: AsyncExitStack,
    app: Application,
    faces: FaceNumbers,
    certificates: Callable[[], Mapping[str, float]] = dict,
) -> Admin | None:
    """`adminListen`, where it is wanted and this process is the one to do it; the others tell it what they count.

    certificates: when each ends, in seconds since 1970, by the name of its file. Raises CannotStart.
    """
    settings, worker, domains = app.settings, app.worker, app.custom_domains
    sources, registry = app.sources, domains.registration.registry
    core = (app.meter, sources.library, sources.forgejo, sources.shared, app.access, registry)
    parts = MeteredComponents(*core, domains.dns, app.webhook, app.pushes, certificates)
    health = HealthMonitor(lambda: operations.every())
    cache_warmer = CacheWarmer(settings, sources.library, sources.clocks.monotonic)
    app.bus.works["warm"] = lambda key: cache_warmer.warm(key, _WARM_BEHIND)

    async def warm(key: Key) -> Warmed:
        warmed = await cache_warmer.warm(key)
        if not warmed.left:  # so that Redis, where there is one, has by now what the others need
            app.bus.tell("warm", key)
        return warmed

    operations = PagesOperations(
        settings,
        app.sources.library,
        app.sources.forgejo,
        domains.store,
        domains.resolver,
        version=__version__,
        faces=faces,
        refusals=domains.registration.registry.refusals,
        certifiable=domains.registration.registry.may_have_certificate,
        purge=app.changes.purge,
        process=lambda: own_process(worker, app.loop_watch),
        parts=parts,
        health=health,
        access_log=app.access_log,
        forwarding=app.forwarding,
        sites=lambda: app.bus.ask("sites"),
        warm=warm,
        siblings=lambda: app.bus.ask("numbers"),
        processes=worker.count if worker is not None else 1,
    )
    app.bus.answers["numbers"] = operations.numbers
    app.bus.answers["sites"] = operations.own_sites
    if not settings.admin_listen or (worker is not None and worker.number):
        return None
    may_have = domains.registration.registry.may_have_certificate
    explainer = Explainer(app.server, lambda: cold_server(app), domains.dns, domains.prover, may_have)
    admin = Admin(operations, explainer, settings.admin_token, settings.admin_hosts)
    stack.push_async_callback(health.aclose)
    health.start()
    stack.push_async_callback(admin.aclose)
    try:
        await admin.start(settings.admin_listen, worker)
    except OSError as error:
        raise CannotStart(f"adminListen: {error}") from None
    return admin
