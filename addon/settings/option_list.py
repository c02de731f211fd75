# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The list of all options: name in the file, kind of value, default, and the sentence that says what it is for.

Its order is that of `config/pages.yaml`. A new option is a line here, its name and default there, and its place in the
guide. What the values say of each other is in `rules`.
"""

# ruff: noqa: RUF009 -- required(), option(), secret() … are dataclasses.field() in our own words.
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from addon.settings.addresses import (
    ListenAddress,
    Network,
    addresses,
    admin_addresses,
    domain_names,
    forge_address,
    host_name,
    host_names,
    listen_addresses,
    loose_host_name,
    networks,
    public_host,
    sentinel_addresses,
    web_address,
)
from addon.settings.listen_entries import listen_entry
from addon.settings.options import (
    Secret,
    access_log,
    any_secret,
    at_least_a_second,
    boolean,
    branches,
    client_id,
    computed,
    duration,
    file_path,
    integer,
    listing,
    one_of,
    option,
    plain_repositories,
    plain_text,
    redis_url,
    repository_name,
    required,
    secret,
    size,
    token,
    url_path,
    whole_seconds,
)

_KIB, _MIB = 1024, 1024 * 1024
_LOOPBACK: tuple[Network, ...] = tuple(networks("loopback"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All options. Sizes are bytes, durations seconds."""

    # What is served, and from where
    pages_domain: str = required("pagesDomain", host_name, "The domain whose sub-domains are the sites of your users.")
    forgejo_host: str = required("forgejoHost", forge_address, "The address at which this server reaches Forgejo.")
    forgejo_token: Secret | None = secret(
        "forgejoToken", token, "An access token for Forgejo, for a forge that asks visitors to sign in."
    )
    forgejo_ca_file: Path | None = option(
        "forgejoCAFile", file_path, None, "Certificates (PEM) to trust for Forgejo, besides those of the system."
    )
    forgejo_timeout: float = option(
        "forgejoTimeout", duration(0.001, 3600), 10.0, "How long one call to Forgejo may take."
    )
    forgejo_connections: int = option(
        "forgejoConnections", integer(1, 1024), 16, "How many calls to Forgejo are made at one time."
    )
    lfs_storage_hosts: tuple[str, ...] = listing(
        "lfsStorageHosts", host_names, (), "Hosts to which Forgejo may send us for the content of LFS files."
    )
    error_pages_repo: str | None = option(
        "errorPagesRepo", repository_name, None, "The repository that holds the landing page and the error pages."
    )
    serve_private_repositories: bool = option(
        "servePrivateRepositories", boolean, False, "Whether a private repository may be published by its own `.pages`."
    )
    oauth_client_id: str | None = option(
        "oauthClientId",
        client_id,
        None,
        "The client ID of this server's OAuth2 application at Forgejo, for sites that only their members read.",
    )
    oauth_client_secret: Secret | None = secret("oauthClientSecret", token, "The client secret of that application.")
    forgejo_public_host: str | None = option(
        "forgejoPublicHost",
        public_host,
        None,
        "The host under which visitors reach Forgejo itself through this server.",
    )

    # Which repositories are sites, and at which address
    profile_repositories: tuple[str, ...] = listing(
        "profileRepositories",
        plain_repositories,
        (".profile",),
        "The names of the repository that is its owner's root; the first that is a site counts.",
    )
    pages_branches: tuple[str, ...] = listing(
        "pagesBranches",
        branches,
        (),
        "Branches that make a repository without `.pages` a site, as Codeberg and GitHub have it.",
    )
    address_style: str = option(
        "addressStyle",
        one_of("subdomain", "path"),
        "subdomain",
        "Whether a site is at owner.pages.example.com/repository/ or at pages.example.com/owner/repository/.",
    )
    redirect_to_custom_domain: bool = option(
        "redirectToCustomDomain",
        boolean,
        False,
        "Whether a site's other addresses lead to its first custom domain, whatever its `.pages` says.",
    )

    # Where it listens, whom it believes, what it writes
    listen: tuple[ListenAddress, ...] = listing(
        "listen",
        listen_addresses,
        (ListenAddress("127.0.0.1", 8080),),
        "The addresses to listen on, for HTTP, or HTTPS with certificates.",
        nested=listen_entry,
    )
    trusted_proxies: tuple[Network, ...] = listing(
        "trustedProxies", networks, _LOOPBACK, "The proxies in front whose `X-Forwarded-…` headers are believed."
    )
    access_log: Path | Literal["stderr"] | None = option(
        "accessLog", access_log, None, "Where each request is noted: off, stderr, or a file."
    )
    access_log_format: str = option(
        "accessLogFormat",
        one_of("json", "combined", "caddy"),
        "json",
        "How a line of the access log looks: json, combined (as Apache and nginx write it) or caddy.",
    )
    access_log_anonymize: bool = option(
        "accessLogAnonymize",
        boolean,
        False,
        "Note only the network of an address: the first 24 bits of IPv4, 48 of IPv6.",
    )
    log_format: str = option(
        "logFormat",
        one_of("text", "json"),
        "text",
        "How a line of the log looks: text (date, level, process, message), or json for programs.",
    )
    log_level: str = option(
        "logLevel",
        one_of("debug", "info", "warning", "error", warn="warning"),
        "info",
        "How much is logged: debug, info, warning or error.",
    )
    state_dir: Path = computed("stateDir", file_path, "The folder for what must outlive a restart.")
    workers: int = option("workers", integer(1, 1024), 16, "The threads for work that would hold up other requests.")

    # How much is held, and how long
    cache_ttl: float = option(
        "cacheTTL", duration(), 300.0, "How long a branch is taken to be where it was without asking Forgejo."
    )
    browser_cache_ttl: int = option(
        "browserCacheTTL",
        whole_seconds,
        0,
        "How long browsers keep what is neither HTML nor named by a hash without asking for it again.",
    )
    memory_cache_size: int = option(
        "memoryCacheSize", size(64 * _KIB), 256 * _MIB, "How much memory everything that is cached may take."
    )
    max_cached_file_size: int = option(
        "maxCachedFileSize", size(), _MIB, "The size above which a file is streamed from Forgejo instead of cached."
    )
    max_site_files: int = option(
        "maxSiteFiles", integer(1, 10_000_000), 100_000, "The most files that one site may have."
    )
    max_site_bytes: int = option(
        "maxSiteBytes", size(64 * _KIB), 16 * _MIB, "The most bytes that the paths of one site may take."
    )

    # Redis or Valkey
    redis_host: str | None = option(
        "redisHost",
        loose_host_name,
        None,
        "The host of Redis or Valkey; without one, memory is the only cache.",
    )
    redis_port: int = option("redisPort", integer(1, 65535), 6379, "The port of Redis or Valkey.")
    redis_username: str | None = option(
        "redisUsername", plain_text, None, "The user to sign in as, where the server has users."
    )
    redis_password: Secret | None = secret("redisPassword", any_secret, "The password of Redis or Valkey.")
    redis_db: int = option("redisDB", integer(0, 65535), 0, "The number of the database.")
    redis_tls: bool = option("redisTLS", boolean, False, "Whether the connection uses TLS.")
    redis_ca_file: Path | None = option(
        "redisCAFile",
        file_path,
        None,
        "Certificates (PEM) to trust for it, instead of those of the system.",
    )
    redis_url: Secret | None = secret(
        "redisURL",
        redis_url,
        "All of the above in one address, such as `rediss://user:password@host:6379/0`.",
    )
    redis_sentinels: tuple[tuple[str, int], ...] = listing(
        "redisSentinels",
        sentinel_addresses,
        (),
        "The sentinels that say where Redis is, as host:port (26379 if left out), instead of redisHost.",
    )
    redis_sentinel_master: str | None = option(
        "redisSentinelMaster", plain_text, None, "The name of what the sentinels watch."
    )
    redis_sentinel_username: str | None = option(
        "redisSentinelUsername", plain_text, None, "The user to sign in as at the sentinels, where they have users."
    )
    redis_sentinel_password: Secret | None = secret(
        "redisSentinelPassword", any_secret, "The password of the sentinels."
    )
    redis_cluster: bool = option(
        "redisCluster", boolean, False, "Whether redisHost (or redisURL) is a node of a cluster; it names the others."
    )
    redis_pool_size: int = option("redisPoolSize", integer(1, 10_000), 10, "How many idle connections are kept.")
    redis_max_connections: int = option(
        "redisMaxConnections", integer(1, 10_000), 20, "The most connections at one time."
    )
    redis_conn_wait_timeout: float = option(
        "redisConnWaitTimeout", duration(), 5.0, "How long to wait for a free connection."
    )
    redis_timeout: float = option(
        "redisTimeout", duration(0.001), 0.3, "The longest that one look-up in the shared cache may take."
    )
    max_shared_file_size: int = option(
        "maxSharedFileSize",
        size(),
        8 * _MIB,
        "The size above which a file is not put into the shared cache.",
    )
    memory_ttl: float = option(
        "memoryTTL", duration(), 5.0, "How long memory is believed while Redis cannot tell of changes."
    )
    stale_ttl: int = option("staleTTL", whole_seconds, 86_400, "How long known pages are served while Forgejo is away.")

    # Deploys and administration
    webhook_secret: Secret | None = secret(
        "webhookSecret", any_secret, "The secret of Forgejo's webhook; without one there is no webhook."
    )
    webhook_path: str = option(
        "webhookPath", url_path, "/.pages/webhook", "The path of the webhook on the pages domain."
    )
    admin_listen: tuple[ListenAddress, ...] = listing(
        "adminListen",
        admin_addresses,
        (),
        "The addresses of the status page and of purging; off unless set.",
    )
    admin_hosts: tuple[str, ...] = listing(
        "adminHosts", host_names, (), "The names by which `adminListen` may be asked, besides localhost and addresses."
    )
    admin_token: Secret | None = secret("adminToken", token, "The token that the status page and purging ask for.")

    # Previews of branches, commits and pull requests
    preview_domain: str | None = option(
        "previewDomain",
        host_name,
        None,
        "The domain whose sub-domains are previews of branches, commits and pull requests; off unless set.",
    )
    preview_domain_below_pages: bool = option(
        "previewDomainBelowPages",
        boolean,
        False,
        "Whether previewDomain may be at, below or above pagesDomain, where previews can set cookies for sites.",
    )
    max_previews: int = option(
        "maxPreviews",
        integer(1, 10_000),
        100,
        "The most branches and pull requests of a repository that have previews; pull requests first, of them its own.",
    )
    preview_ttl: float = option(
        "previewTTL",
        duration(1.0),
        30 * 86_400.0,
        "How long after its last change a preview is shown.",
    )
    preview_token: Secret | None = secret(
        "previewToken",
        token,
        "A token with the scope write:repository that tells a pull request where its preview is, by a commit status.",
    )

    # Custom domains
    enable_custom_domains: bool = option(
        "enableCustomDomains", boolean, True, "Whether sites may have domains of their own."
    )
    enable_custom_domain_dns_verification: bool = option(
        "enableCustomDomainDNSVerification",
        boolean,
        False,
        "Whether a domain must be proven by a DNS record.",
    )
    require_keyed_proof: bool = option(
        "requireKeyedProof", boolean, False, "Whether only a proof made with `domainProofKey` counts."
    )
    domain_proof_key: Secret | None = secret(
        "domainProofKey", any_secret, "The key that the proofs of domains are made with."
    )
    dns_resolvers: tuple[str, ...] = listing(
        "dnsResolvers", addresses, (), "The DNS servers to ask, instead of those of the system."
    )
    max_domains_per_owner: int = option(
        "maxDomainsPerOwner",
        integer(0, 1_000_000),
        200,
        "The most custom domains and hosts of branches that all sites of one owner may have.",
    )
    public_addresses: tuple[Network, ...] = listing(
        "publicAddresses",
        networks,
        (),
        "The addresses at which the world reaches this server; by default those that DNS gives for `pagesDomain`.",
    )
    reserved_domains: tuple[str, ...] = listing(
        "reservedDomains", domain_names, (), "Domains that no site may claim, nor any name below them."
    )
    claimable_domains: tuple[str, ...] = listing(
        "claimableDomains",
        domain_names,
        (),
        "Domains of your own that a site may claim all the same, and names below them.",
    )
    release_grace: int = option(
        "releaseGrace",
        whole_seconds,
        86_400,
        "How long the domains of a vanished repository stay reserved.",
    )
    custom_domain_cache_ttl: int = option(
        "customDomainCacheTTL",
        whole_seconds,
        600,
        "Known from the Traefik plugin, which never used it either.",
        later=True,
    )
    max_redirects: int = option(
        "maxRedirects", integer(0, 100_000), 25, "The most rules that are read from a `.redirects` file."
    )
    redirect_https: bool = option("redirectHTTPS", boolean, False, "Whether plain HTTP is redirected to HTTPS.")
    acme_challenge_upstream: str | None = option(
        "acmeChallengeUpstream", web_address, None, "Who answers `/.well-known/acme-challenge/`."
    )

    # Traefik in front
    traefik_redis_router_enabled: bool = option(
        "traefikRedisRouterEnabled",
        boolean,
        True,
        "Whether routers for custom domains are written for Traefik.",
    )
    traefik_redis_cert_resolver: str = option(
        "traefikRedisCertResolver",
        plain_text,
        "letsencrypt-http",
        "The certificate resolver of those routers.",
    )
    traefik_redis_router_ttl: int = option(
        "traefikRedisRouterTTL", whole_seconds, 0, "How long those routers live; 0 is for ever."
    )
    traefik_redis_root_key: str = option(
        "traefikRedisRootKey", plain_text, "traefik", "The key under which Traefik looks for them."
    )
    traefik_service_url: str | None = option(
        "traefikServiceURL", web_address, None, "The address at which Traefik reaches this server."
    )

    # Passwords
    auth_secret_key: Secret | None = secret(
        "authSecretKey", any_secret, "The key that signs the logins of those who gave a site's password."
    )
    auth_cookie_duration: int = option("authCookieDuration", at_least_a_second, 3600, "How long a login is good.")

    # The fast lane and the process
    lane: bool = option("lane", boolean, True, "Whether the fast protocol of our own serves HTTP/1.1 and HTTP/2.")
    http2: bool = option("http2", boolean, True, "Whether HTTP/2 is offered over TLS, to pages hosts.")
    http2_plain: bool = option(
        "http2Plain", boolean, False, "Whether HTTP/2 is understood without TLS, from clients that know (h2c)."
    )
    max_head_size: int = option("maxHeadSize", size(1024), 16 * _KIB, "The most that the head of a request may take.")
    header_timeout: float = option(
        "headerTimeout", duration(0.001), 10.0, "How long the head of a request may take to arrive."
    )
    idle_timeout: float = option("idleTimeout", duration(0.001), 60.0, "How long a connection may be idle.")
    max_requests_per_connection: int = option(
        "maxRequestsPerConnection",
        integer(0, 10**9),
        10_000,
        "After how many requests a connection is closed.",
    )
    max_connections_per_address: int = option(
        "maxConnectionsPerAddress",
        integer(0, 10**6),
        512,
        "The most connections from one address; 0 is no limit.",
    )
    processes: int = option("processes", integer(1, 1024), 1, "How many processes share the work.")
    keep_default_addons: bool = option(
        "keepDefaultAddons", boolean, False, "Whether mitmproxy keeps addons that have nothing to do here."
    )
