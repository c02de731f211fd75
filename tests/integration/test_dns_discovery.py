# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A real mitmdump and a real DNS: a host that nobody registered, found by what it is an alias for."""

from pathlib import Path

from tests.addon.domains.name_server import name_server
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import PAGES_DOMAIN, running_proxy


def test_the_first_visit_to_a_new_domain_is_answered_if_dns_and_the_site_name_each_other(tmp_path: Path) -> None:
    files = {".pages": b"custom_domain: www.alice.example\n", "public/index.html": b"alice"}
    site = Site(tmp_path / "forge" / "alice" / "blog.git", files)
    with start_forge(tmp_path / "forge") as forge:
        with name_server() as names:
            names.cname("www.alice.example", f"blog.alice.{PAGES_DOMAIN}")
            names.txt("_pages.text.example", "alice/blog")
            names.cname("not-named.example", f"blog.alice.{PAGES_DOMAIN}")
            with running_proxy(tmp_path / "proxy", forge.url, dnsResolvers=[names.address]) as proxy:
                assert proxy.get("www.alice.example").body == b"alice"
                assert proxy.get("not-named.example").status == 404
                assert proxy.get("text.example").status == 404
                assert proxy.get("alice.example").status == 301  # the twin
                names.trouble["*"] = "silent"
                assert proxy.get("www.alice.example").body == b"alice"
        site.close()
