# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""The options one by one and against each other: what is taken, what it becomes, and how the rest is refused."""

import ipaddress
import time
from pathlib import Path

import pytest

from addon.settings.schema import ListenAddress
from tests.addon.settings.settings_cases import HOME, OPTIONS, made, refusal
from tests.cases import by_first, by_outcome

# --- defaults ---------------------------------------------------------------------------------------------------------

ORIGIN = {
    "forgejoToken": None,
    "errorPagesRepo": None,
    "redisHost": None,
    "redisPassword": None,
    "authSecretKey": None,
    "enableCustomDomains": True,
    "redisPort": 6379,
    "redisPoolSize": 10,
    "redisMaxConnections": 20,
    "redisConnWaitTimeout": 5,
    "cacheTTL": 300,
    "customDomainCacheTTL": 600,
    "traefikRedisRouterEnabled": True,
    "traefikRedisCertResolver": "letsencrypt-http",
    "traefikRedisRouterTTL": 0,
    "traefikRedisRootKey": "traefik",
    "authCookieDuration": 3600,
    "enableCustomDomainDNSVerification": False,
    "maxRedirects": 25,
}


def test_the_options_of_the_traefik_plugin_have_its_defaults() -> None:
    settings = made()
    assert {name: getattr(settings, OPTIONS[name][0]) for name in ORIGIN} == ORIGIN


def test_our_own_options_have_the_documented_defaults() -> None:
    settings = made()
    assert settings.listen == (ListenAddress("127.0.0.1", 8080),)
    assert settings.memory_cache_size == 256 * 1024 * 1024
    assert settings.max_cached_file_size == 1024 * 1024
    assert (settings.max_site_files, settings.forgejo_timeout, settings.workers) == (100_000, 10, 16)
    assert [str(each) for each in settings.trusted_proxies] == ["127.0.0.0/8", "::1/128"]
    assert (settings.access_log, settings.log_level, settings.forgejo_public_host) == (None, "info", None)
    assert (settings.serve_private_repositories, settings.lfs_storage_hosts, settings.forgejo_ca_file) == (
        False,
        (),
        None,
    )
    assert (settings.not_used_yet, settings.warnings) == ((), ())


def test_every_option_names_its_attribute_in_python_style() -> None:
    for name, (attribute, _) in OPTIONS.items():
        assert attribute.replace("_", "") == name.lower()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        made().workers = 5  # type: ignore[misc]  # that it is refused is the test


# --- one by one -------------------------------------------------------------------------------------------------------


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


KIB, MIB, GIB = 1024, 1024**2, 1024**3

TAKEN: list[tuple[str, object, object]] = [
    *by_first(
        {
            "pagesDomain": {
                "Pages.Example.ORG": "pages.example.org",
                "pages.example.org.": "pages.example.org",
                " pages.example.org ": "pages.example.org",
                "bücher.example": "xn--bcher-kva.example",
                "localhost": "localhost",
            },
            "forgejoHost": {
                "https://Git.Example.org/": "https://git.example.org",
                "https://git.example.org:443": "https://git.example.org",
                "http://git.example.org:443/forgejo/": "http://git.example.org:443/forgejo",
                "HTTP://forgejo_app:3000": "http://forgejo_app:3000",
                "http://[0:0::1]:3000": "http://[::1]:3000",
                "http://10.0.0.7:3000": "http://10.0.0.7:3000",
            },
            "errorPagesRepo": {"alice/error-pages": "alice/error-pages", "": None},
            "enableCustomDomains": {False: False, "no": False, "False": False, "on": True},
            "redisPort": {"6380": 6380, 1: 1, 65535: 65535},
            "maxSiteFiles": {"100_000": 100_000},
            "cacheTTL": {
                0: 0.0,
                "0.5": 0.5,
                "500ms": 0.5,
                "5m": 300.0,
                "1h30m": 5400.0,
                "1 d": 86400.0,
            },
            "authCookieDuration": {"24h": 86400},
            "forgejoTimeout": {2.5: 2.5},
            "memoryCacheSize": {
                1048576: MIB,
                "256MiB": 256 * MIB,
                "256 MB": 256_000_000,
                "1g": GIB,
                "1.5GiB": GIB * 3 // 2,
                "65536": 64 * KIB,
            },
            "maxCachedFileSize": {0: 0, "10kb": 10_000},
            "listen": {
                ":8080": (ListenAddress("", 8080),),
                8080: (ListenAddress("", 8080),),
                "*:80": (ListenAddress("", 80),),
                "0.0.0.0:80": (ListenAddress("0.0.0.0", 80),),
                "[0::1]:8080": (ListenAddress("::1", 8080),),
                "LocalHost:8080": (ListenAddress("localhost", 8080),),
                "127.0.0.1:81, [::1]:81": (ListenAddress("127.0.0.1", 81), ListenAddress("::1", 81)),
            },
            "trustedProxies": {
                "10.0.0.1": (network("10.0.0.1/32"),),
                "Private": tuple(map(network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))),
            },
            "accessLog": {
                "off": None,
                False: None,
                "stderr": "stderr",
                "access.json": Path("/etc/pages/access.json"),
                "/var/log/pages.json": Path("/var/log/pages.json"),
            },
            "logLevel": {"WARN": "warning", "debug": "debug"},
            "stateDir": {"state": Path("/etc/pages/state")},
            "forgejoPublicHost": {"Git.Example.org:3000": "git.example.org", "192.0.2.7": "192.0.2.7"},
            "webhookPath": {"/hooks/.forgejo": "/hooks/.forgejo"},
            "adminListen": {"off": (), "127.0.0.1:8081": (ListenAddress("127.0.0.1", 8081),)},
            "reservedDomains": {"Example.com, example.net": ("example.com", "example.net")},
            "traefikServiceURL": {"http://pages:8080/": "http://pages:8080"},
            "traefikRedisRootKey": {"traefik": "traefik"},
            "redisHost": {"valkey": "valkey"},
        }
    ),
    ("listen", ["127.0.0.1:0", "127.0.0.1:0"], (ListenAddress("127.0.0.1", 0), ListenAddress("127.0.0.1", 0))),
    ("trustedProxies", [], ()),
    ("trustedProxies", ["loopback", "2001:db8::/32"], tuple(map(network, ("127.0.0.0/8", "::1/128", "2001:db8::/32")))),
    ("lfsStorageHosts", ["S3.example.org", "minio_1"], ("s3.example.org", "minio_1")),
    ("dnsResolvers", ["9.9.9.9", "[2620:fe::fe]:53", "2620:fe::fe"], ("9.9.9.9", "[2620:fe::fe]:53", "2620:fe::fe")),
]


@pytest.mark.parametrize(("name", "value", "expected"), TAKEN)
def test_a_value_is_taken_and_normalised(name: str, value: object, expected: object) -> None:
    assert getattr(made({name: value}), OPTIONS[name][0]) == expected


def test_sentinels_are_addresses_with_or_without_a_port() -> None:
    settings = made(
        {
            "redisSentinels": ["10.0.0.1:26380", "[2620:fe::fe]:26381", "sentinel_3", "2620:fe::1"],
            "redisSentinelMaster": "pages",
        }
    )
    expected = (("10.0.0.1", 26380), ("2620:fe::fe", 26381), ("sentinel_3", 26379), ("2620:fe::1", 26379))
    assert settings.redis_sentinels == expected
    assert (settings.names_redis, settings.names_sentinels, settings.names_cluster) == (True, True, False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (False, False, False)),
        ({"redisHost": "a"}, (True, False, False)),
        ({"redisHost": "a", "redisCluster": True}, (True, False, True)),
        ({"redisURL": "redis+cluster://a,b"}, (True, False, True)),
        ({"redisURL": "rediss+sentinel://a,b/pages"}, (True, True, False)),
    ],
)
def test_the_settings_say_whether_there_are_sentinels_or_a_cluster(
    options: dict[str, object], expected: tuple[bool, bool, bool]
) -> None:
    settings = made(options)
    assert (settings.names_redis, settings.names_sentinels, settings.names_cluster) == expected


# option, what was given, a part of what is said
REFUSED: list[tuple[str, object, str]] = [
    *by_first(
        {
            "redisSentinels": {
                "redis://a:26379": "no scheme",
                "a:0": "ports go from 1",
                "a:70000": "ports go from 1",
                "a b": "the address of a sentinel",
            },
            "redisURL": {"redis+both://a": "redis+sentinel://"},
            "pagesDomain": {
                "https://pages.example.org": "leave out the scheme",
                "pages.example.org/": "leave out the path",
                "pages.example.org:8080": "leave out the port",
                "*.pages.example.org": "leave out the `*.`",
                "192.0.2.1": "an address has no names below it",
                "[::1]": "an address has no names below it",
                "::1": "an address has no names below it",
                "127.1": "no number",
                "pages.0x7f": "no number",
                "pages..example.org": "expected a host name",
                "-pages.example.org": "expected a host name",
                "my_pages.example.org": "expected a host name",
                "pages example": "expected a host name",
                ".": "expected a host name",
                "straße.example": "xn--",
                f"{'a' * 64}.example": "expected a host name",
                f"{'a.' * 127}example": "253",
                f"{'ü.' * 127}example": "253",
            },
            "forgejoHost": {
                "git.example.org": "write https://git.example.org or http://git.example.org",
                "localhost:3000/": "write https://localhost:3000 or http://localhost:3000",
                "ssh://git.example.org": "begin it with https://",
                "https://git.example.org?x": "no ? or #",
                "https://git.example.org/#x": "no ? or #",
                "https://git.example.org/api/v1/": "leave out the /api/v1",
                "https://git.example.org/a/../b": "path",
                "https://git.example.org//b": "path",
                "https://git.example.org/a b": "path",
                "https://git.example.org\\@evil.example": "no user name",
                "https://": "expected a URL",
                "https://git.example.org:0": "expected a URL",
                "https://git.example.org:99999": "65535",
                "https://::1:3000": "[::1]",
                "https://[::zz]": "expected a host name or address",
            },
            "errorPagesRepo": {
                "error-pages": "owner/repository",
                "https://git.example.org/a/b": "without the server's address",
                "alice/..": "owner/repository",
            },
            "enableCustomDomains": {"maybe": "true or false", 2: "true or false"},
            "redisPort": {
                0: "from 1 to 65535",
                "http": "from 1 to 65535",
                "٣": "from 1 to 65535",
                6379.5: "from 1 to 65535",
                True: "from 1 to 65535",
                "9" * 5000: "from 1 to 65535",
                "1__0": "from 1 to 65535",
            },
            "workers": {0: "from 1 to 1024", -4: "from 1 to 1024"},
            "cacheTTL": {
                -1: "number of seconds",
                "soon": "number of seconds",
                "5 minutes": "number of seconds",
                "nan": "number of seconds",
                "1e3": "number of seconds",
                "100000d": "a duration from 0",
            },
            "forgejoTimeout": {0: "a duration from 0.001"},
            "authCookieDuration": {"500ms": "whole number of seconds"},
            "memoryCacheSize": {
                "lots": "a size in bytes",
                "-1": "a size in bytes",
                "256 MiBytes": "a size in bytes",
                1000: "a size from 64 KiB",
                "99999T": "1 PiB",
            },
            "listen": {
                "127.0.0.1": "add a port: 127.0.0.1:8080",
                "::1:8080": "[::1]",
                "127.0.0.1:65536": "65535",
                "http://127.0.0.1:8080": "not a URL",
                "https://:443": "tls:",
                "unix:/run/pages.sock": "not a URL or a path",
            },
            "trustedProxies": {
                "10.0.0.1/8": "write 10.0.0.0/8",
                "10.0.0.0/33": "an address or network",
                "proxy.example.org": "an address or network",
            },
            "accessLog": {
                "on": "off, stderr, or a file's path",
                "stdout": "off, stderr, or a file's path",
                "a\0b": "a path",
                "~nobody-of-this-name/x": "a path",
            },
            "logLevel": {"loud": "debug, info, warning or error"},
            "lfsStorageHosts": {"https://s3.example.org": "leave out the scheme"},
            "forgejoPublicHost": {
                "git.example.org/forgejo": "write the URL",
                "ftp://git.example.org": "begin it with https://",
            },
            "webhookPath": {"hooks": "a path such as", "/a/../b": "a path such as"},
            "dnsResolvers": {"dns.example.org": "an IP address", "9.9.9.9:0": "an IP address"},
            "traefikRedisRootKey": {"a\nb": "one line of text"},
            "forgejoCAFile": {"missing.pem": "a file that can be read"},
        }
    ),
    ("listen", [{"address": ":443", "tls": {}}], "cert"),
    ("listen", [[":80"]], "found a list"),
    ("listen", [None], "found nothing"),
    ("listen", [""], "an address and a port"),
    ("listen", [], "at least one address"),
    ("listen", {"a": 1}, "only address and tls"),
    ("pagesDomain", ["a", "b"], "found a list"),
    ("pagesDomain", [], "found a list"),
]


@pytest.mark.parametrize(("name", "value", "says"), REFUSED)
def test_a_wrong_value_is_refused_in_one_line_with_a_remedy(name: str, value: object, says: str) -> None:
    message = refusal({name: value})
    assert message.startswith(f"settings: {name}: expected ")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize("bit", ["a.", "/a", "1s ", "9", "::", "a@", "ü", "$${"])
@pytest.mark.parametrize("name", ["forgejoHost", "listen", "cacheTTL", "webhookPath", "redisHost", "errorPagesRepo"])
def test_a_long_value_is_refused_at_once_and_shown_only_in_part(name: str, bit: str) -> None:
    started = time.process_time()
    assert len(refusal({name: f"{bit * 30_000}!"})) < 400
    assert time.process_time() - started < 0.5  # what grows with the square of the length takes many times as much


@pytest.mark.parametrize("name", [name for name, (_, row) in OPTIONS.items() if not row.required])
def test_null_and_an_empty_text_leave_an_option_at_its_default(name: str) -> None:
    for nothing in (None, ""):
        settings = made({name: nothing})
        assert settings == made()


@pytest.mark.parametrize("name", [name for name, (_, row) in OPTIONS.items() if row.required])
def test_required_options_are_missed_when_absent_or_empty(name: str) -> None:
    for nothing in (None, "", "  ", "${EMPTY}"):
        assert f"settings: {name}: is required" in refusal({name: nothing}, environ={**HOME, "EMPTY": ""})


def test_the_public_host_keeps_the_scheme_that_it_was_given_with() -> None:
    assert made(forgejoPublicHost="https://Git.Example.org:443/").forgejo_public_host == "git.example.org"
    assert made(forgejoPublicHost="https://Git.Example.org:443/").forgejo_public_scheme == "https"
    assert made(forgejoPublicHost="http://git.example.org/forgejo").forgejo_public_scheme == "http"
    assert made(forgejoPublicHost="git.example.org").forgejo_public_scheme is None


def test_browsers_ask_for_files_each_time_unless_told_otherwise() -> None:
    assert made(cacheTTL="1m").browser_cache_ttl == 0
    assert made(cacheTTL="1m", browserCacheTTL=10).browser_cache_ttl == 10


def test_a_small_memory_lowers_the_limits_that_were_not_set() -> None:
    assert made(memoryCacheSize="512KiB").max_cached_file_size == 512 * KIB
    assert made(redisMaxConnections=4).redis_pool_size == 4


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/pages"}, "/var/lib/pages"),
        ({"STATE_DIRECTORY": "/var/lib/pages:/var/lib/more"}, "/var/lib/pages"),
        ({"XDG_STATE_HOME": "/srv/state"}, "/srv/state/forgejo-pages"),
        ({"XDG_STATE_HOME": "relative"}, "/home/pages/.local/state/forgejo-pages"),
        ({}, "/home/pages/.local/state/forgejo-pages"),
    ],
)
def test_the_state_folder_is_where_systemd_or_xdg_puts_it(environ: dict[str, str], expected: str) -> None:
    assert made(environ=HOME | environ).state_dir == Path(expected)


def test_without_any_home_the_state_folder_must_be_named() -> None:
    assert "stateDir: is required here" in refusal(environ={})
    assert made(stateDir="/s", environ={}).state_dir == Path("/s")


# --- against each other -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "option", "says"),
    [
        ({"forgejoPublicHost": "pages.example.org"}, "forgejoPublicHost", "outside of pages.example.org"),
        ({"forgejoPublicHost": "https://git.Pages.example.org"}, "forgejoPublicHost", "outside of pages.example.org"),
        ({"redisPoolSize": 21}, "redisPoolSize", "at most redisMaxConnections, which is 20, found 21"),
        ({"redisPoolSize": 5, "redisMaxConnections": 4}, "redisPoolSize", "which is 4, found 5"),
        ({"redisSentinels": "a,b"}, "redisSentinelMaster", "is required with redisSentinels"),
        ({"redisSentinelMaster": "m"}, "redisSentinelMaster", "needs redisSentinels"),
        ({"redisSentinels": "a", "redisSentinelMaster": "m", "redisHost": "b"}, "redisSentinels", "no redisHost"),
        ({"redisSentinels": "a", "redisSentinelMaster": "m", "redisCluster": True}, "redisCluster", "no sentinels"),
        ({"redisCluster": True}, "redisCluster", "needs redisHost or redisURL"),
        ({"redisCluster": True, "redisHost": "a", "redisDB": 1}, "redisDB", "expected 0"),
        ({"maxCachedFileSize": "1GiB"}, "maxCachedFileSize", "which is 256 MiB, found 1 GiB"),
        ({"listen": ":80", "adminListen": "127.0.0.1:80"}, "adminListen", "an address of its own"),
        ({"adminListen": ":8081"}, "adminToken", "set it, or listen at 127.0.0.1:8081"),
        ({"adminListen": ["127.0.0.1:8081", "192.0.2.1:8081"]}, "adminToken", "as 192.0.2.1:8081 can"),
        ({"adminListen": "[::]:8081"}, "adminToken", "is required where"),
        ({"previewDomain": "pages.example.org"}, "previewDomain", "a domain apart from pages.example.org"),
        ({"previewDomain": "p.pages.example.org"}, "previewDomain", "insist by previewDomainBelowPages: true"),
        ({"previewDomain": "example.org"}, "previewDomain", "a domain apart from pages.example.org"),
        (
            {"previewDomain": "pages.example.org", "previewDomainBelowPages": "true"},
            "previewDomain",
            "a domain apart from pages.example.org",
        ),
        (
            {"previewDomain": "p.git.example.net", "forgejoPublicHost": "git.example.net"},
            "previewDomain",
            "a domain apart from git.example.net",
        ),
        ({"oauthClientId": "3a61"}, "oauthClientSecret", "together with oauthClientId"),
        ({"oauthClientId": "3a61", "oauthClientSecret": "gto_x", "processes": 2}, "oauthClientId", "needs redisHost"),
        (
            {"oauthClientId": "3a61", "oauthClientSecret": "gto_x", "addressStyle": "path"},
            "oauthClientId",
            "needs addressStyle subdomain",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], option: str, says: str) -> None:
    message = refusal(options)
    assert message.startswith(f"settings: {option}: ")
    assert says in message


@pytest.mark.parametrize("domain", ["preview.example.net", "preview.example.org", "evilpages.example.org"])
def test_the_domain_of_previews_may_be_any_other_and_below_the_pages_where_the_operator_insists(domain: str) -> None:
    assert made(previewDomain=domain).preview_domain == domain
    below = made(previewDomain="p.pages.example.org", previewDomainBelowPages=True)
    assert below.preview_domain == "p.pages.example.org"
    assert made(previewToken="x" * 40).warnings == ("previewToken: is of no use without previewDomain",)


@pytest.mark.parametrize("host", ["example.org", "evilpages.example.org", "git.example.org"])
def test_the_public_host_may_be_beside_or_above_the_pages_domain(host: str) -> None:
    assert made(forgejoPublicHost=host).forgejo_public_host == host


@pytest.mark.parametrize(
    ("forge", "listen", "leads_back"),
    by_outcome(
        {
            True: [
                ("http://127.0.0.1:8080", "127.0.0.1:8080"),
                ("http://127.0.0.1:8080", ":8080"),
                ("http://127.0.0.2:8080", "0.0.0.0:8080"),
                ("http://localhost:8080", "127.0.0.1:8080"),
                ("http://forge.localhost:8080", "[::1]:8080"),
                ("http://127.0.0.1:8080", "localhost:8080"),
                ("http://[::1]:8080", "[::]:8080"),
                ("http://0.0.0.0:8080", "127.0.0.1:8080"),
                ("http://192.0.2.7", "192.0.2.7:80"),
                ("https://forge", "forge:443"),
            ],
            False: [
                ("http://[::1]:8080", "0.0.0.0:8080"),
                ("http://127.0.0.1:3000", "127.0.0.1:8080"),
                ("http://127.0.0.2:8080", "127.0.0.1:8080"),
                ("http://127.0.0.1:8080", "192.0.2.7:8080"),
                ("http://127.0.0.1:8080", "127.0.0.1:0"),
                ("https://git.example.org", ":443"),
            ],
        }
    ),
)
def test_a_forge_that_is_this_server_itself_is_refused(forge: str, listen: str, leads_back: bool) -> None:
    if leads_back:
        assert "leads back here" in refusal(forgejoHost=forge, listen=listen)
    else:
        assert made(forgejoHost=forge, listen=listen).forgejo_host == forge


@pytest.mark.parametrize(
    ("listen", "kept"),
    [
        ([":80", "127.0.0.1:80"], [":80"]),
        (["127.0.0.1:80", ":80"], [":80"]),
        (["127.0.0.1:80", "127.0.0.1:80"], ["127.0.0.1:80"]),
        (["0.0.0.0:80", "127.0.0.1:80", "[::1]:80"], ["0.0.0.0:80", "[::1]:80"]),
        (["localhost:80", "[::1]:80"], ["localhost:80"]),
    ],
)
def test_an_address_that_is_there_twice_is_listened_on_once_with_a_warning(listen: list[str], kept: list[str]) -> None:
    settings = made(listen=listen)
    assert [str(each) for each in settings.listen] == kept
    assert len(settings.warnings) == 1
    assert "is left out" in settings.warnings[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trustedProxies": "0.0.0.0/0"}, "everyone is believed"),
        ({"forgejoHost": "https://git.pages.example.org"}, "below pagesDomain"),
        ({"forgejoToken": "${EMPTY}"}, "forgejoToken is empty"),
        (
            {"redisHost": "a", "redisCluster": True, "traefikRedisRouterEnabled": True},
            "traefikRedisRouterEnabled: nothing is written for Traefik",
        ),
    ],
)
def test_harmless_oddities_are_warnings(options: dict[str, object], says: str) -> None:
    (warning,) = made(options, environ={**HOME, "EMPTY": "\n"}).warnings
    assert says in warning


def test_a_wrong_option_does_not_make_others_seem_wrong() -> None:
    assert refusal(memoryCacheSize="x", maxCachedFileSize="500MiB").count("\n") == 0


def test_options_that_nothing_uses_yet_are_named_when_set() -> None:
    settings = made(
        customDomainCacheTTL=5, maxRedirects=25, webhookSecretFile=None, processes=2, workers=4, adminToken=""
    )
    assert settings.not_used_yet == ("customDomainCacheTTL",)
