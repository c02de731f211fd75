# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`/.pages/site`: what a site's owner should know, as a page and as JSON; to who may see the site, and nobody else.

What the rules come to is found out on a thread, once a commit; which commit that is, when it was seen, and what its
domains still need is said as it is now. Nothing is told here that a visitor could not find out by trying, but why.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from addon import templates
from addon.library.blobs import Blobs
from addon.serving.answers import OWN_HEADER, Answer, Need, Request, Work, own_page
from addon.serving.locks import Entered, SitePath
from addon.sites import report
from addon.sites.findings import Finding
from addon.sites.site import Site
from addon.web.http_dates import http_date
from addon.web.routing import OWN_PREFIX, encode_path

PAGE = (OWN_PREFIX, "site")
JSON = (OWN_PREFIX, "site.json")


class DomainState(NamedTuple):
    """What is known of a domain that a site names. state: `registered`, `refused` …; needs: what it still takes."""

    host: str
    state: str
    needs: str = ""


DomainStates = Callable[[str, str], Sequence[tuple[str, str, str]]]
"""By a site's owner and name: what is known of each domain, as `DomainState` has it."""


class SitePages:
    """The reports of sites."""

    def __init__(self, blobs: Blobs, age: Callable[[float], float], now: Callable[[], float]) -> None:
        """age: seconds since a moment of the clock that looks are dated by. now: seconds since 1970."""
        self.domains: DomainStates = lambda owner, name: ()
        """What became of a site's domains, by its owner and name."""
        self.previews: Callable[[Entered, Work], list[dict[str, Any]] | Need] = lambda entered, work: []
        """The previews of a site, for who has entered it."""
        self._blobs = blobs
        self._age = age
        self._now = now

    def answer(self, at: SitePath) -> Answer | Need | None:
        """The report of a site that was entered; None for another path."""
        request, entered, segments, _, work = at
        if segments not in (PAGE, JSON):
            return None
        lookup, site = entered
        governed = hash((site.pages_file, site.prefix))  # a branch's commit may be governed otherwise by now
        name = ("report", *lookup.key, site.commit, str(governed))
        made = self._blobs.held_page(name)
        if made is None:
            done = work.done.get(name)
            if not isinstance(done, bytes):
                return Need(name, lambda: self._blobs.page(name, partial(_dumped, site)), from_forgejo=False)
            made = done
        found = [Finding(*each) for each in json.loads(made)]
        other = "it is not the file beside it in another coding, so that one is sent itself"
        found += [Finding(path, None, other, "build it anew, or remove it") for path in self._blobs.false_forms(lookup)]
        previews = self.previews(entered, work)
        if isinstance(previews, Need):
            return previews
        told = described(site, found)
        told["previews"] = previews
        seen = int(self._now() - self._age(lookup.looked))
        told["seen"] = http_date(seen).decode()
        branch = lookup.key[1].partition("@")[2]
        if branch.startswith(":"):  # of a preview, which has a commit and no branch
            told["branch"] = ""
        else:
            told["branch"] = branch or (lookup.repository.default_branch if lookup.repository else "")
        told["trouble"] = None if lookup.trouble is None else "Forgejo gives no answer; this is what was seen last"
        told["domains"] = [DomainState(*each)._asdict() for each in self.domains(site.owner, site.name)]
        if segments == JSON or b"application/json" in (request.header(b"accept") or b""):
            return _json(request, told)
        place = f"{request.host or ''}{encode_path(at.base, True)}"
        page = templates.site_report(
            f"{site.owner}/{site.name}", place, sections(told), [_shown(each) for each in found]
        )
        answer = own_page(request, 200, page)
        answer.headers.append((OWN_HEADER.encode(), b"forgejo-pages"))
        return answer


def described(site: Site, found: list[Finding]) -> dict[str, Any]:
    """A site in plain values, as JSON has it; found: what is to be mended."""
    rules = site.pages_file
    static, dynamic = site.rules.redirects.counts
    return {
        "site": f"{site.owner}/{site.name}",
        "commit": site.commit,
        "root": site.prefix or ".",
        "files": len(site.tree),
        "bytes": site.tree.content_bytes,
        "pages": {
            "enabled": rules.enabled,
            "custom_domain": list(rules.custom_domains),
            "enable_branches": list(rules.enable_branches),
            "directory_index": rules.directory_index,
            "publish_private": rules.publish_private,
            "spa": rules.spa,
            "clean_urls": rules.clean_urls,
            "canonical": rules.canonical,
            "access": "members" if rules.members else None,
            "protected": bool(rules.password),
            "branches_protected": bool(rules.branches_password),
            "previews": [
                *(f"branches: {pattern}" for pattern in rules.preview_branches),
                *(["commits"] if rules.preview_commits else []),
                *([f"pulls: {rules.preview_pulls}"] if rules.preview_pulls else []),
            ],
        },
        "redirects": {"static": static, "dynamic": dynamic},
        "headers": len(site.rules.headers),
        "rule_files": sorted(site.rules.packed),
        "findings": [each._asdict() for each in found],
    }


def sections(told: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The same as lines for people, by title."""
    pages = told["pages"]
    said = [(f"`{name}`", _word(value)) for name, value in pages.items() if value not in (False, [], None)]
    rules = told["redirects"]
    shown = [
        ("Commit", f"`{told['commit']}`"),
        *([("Branch", f"`{told['branch']}`")] if told.get("branch") else []),
        ("Folder", "the whole repository" if told["root"] == "." else f"`{told['root']}`"),
        *([("Seen", told["seen"])] if told.get("seen") else []),
        *([("Forgejo", told["trouble"])] if told.get("trouble") else []),
        ("Files", f"{told['files']:,}, {told['bytes']:,} bytes"),
    ]
    files = [
        ("Redirects", f"{rules['static']:,} for one path each, {rules['dynamic']:,} others"),
        ("Headers", f"for {told['headers']:,} paths"),
    ]
    domains = [(f"`{each['host']}`", f"{each['state']}. {each['needs']}".strip()) for each in told.get("domains", ())]
    previews = [(f"{each['of']} {each['name']}", f"https://{each['host']}/") for each in told.get("previews", ())]
    read = [f"`{name}`" for name in told["rule_files"]]
    return [
        ("What is shown", shown),
        (".pages", said or [("Settings", "none but the defaults")]),
        ("Rules", [("Files", ", ".join(read)), *files] if read else [("Files", "none")]),
        *([("Domains", domains)] if domains else []),
        *([(templates.PREVIEWS, previews)] if previews else []),
    ]


def _word(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "yes" if value is True else str(value)


def _shown(finding: Finding) -> tuple[str, str, str]:
    place = finding.file if finding.line is None else f"{finding.file}, line {finding.line}"
    return place, finding.reason, finding.remedy


def _dumped(site: Site) -> bytes:
    return json.dumps(report.findings(site), ensure_ascii=False).encode("utf-8", "replace")


def _json(request: Request, told: Mapping[str, Any]) -> Answer:
    data = json.dumps(told, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"
    headers = [
        (b"Content-Type", b"application/json"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Cache-Control", b"no-store"),
        (b"Content-Length", b"%d" % len(data)),
        (OWN_HEADER.encode(), b"forgejo-pages"),
    ]
    return Answer(200, headers, b"" if request.method == "HEAD" else data)
