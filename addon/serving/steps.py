# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The way of one request, told by those who go it: what `pages explain` shows.

`Work.steps` is None for visitors, so that nothing is noted; where it is not, each step says what it found, in words and
as facts for JSON. Nothing is decided here, and nothing is found out a second time, so what is told cannot differ from
what is done. The surprise is how a missing path is told: the very question to the site is asked once more, of a tree
that notes which names it is asked for. No password, no hash of one and no cookie is ever among the facts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from addon.shared.domain_mappings import Mapping as Mapped
from addon.shared.freshness import Freshness
from addon.shared.lookup import Fault, Lookup, branch_of
from addon.sites.headers import Added, HeaderRules
from addon.sites.redirect_table import Ruled
from addon.sites.site import File, Listing, Outcome, Site, ToFile, ToFolder
from addon.sites.tree import Entry, Tree
from addon.web.representation import Representation
from addon.web.routing import (
    CleanPath,
    ForgejoRequest,
    OtherHost,
    OwnRequest,
    PagesDomain,
    PreviewRequest,
    Refusal,
    Route,
    SiteRequest,
    encode_path,
)

_MOST_TRIED = 40
_BASED_ON: Mapping[Freshness, str] = {
    Freshness.FRESH: "believed without asking",
    Freshness.DOUBTFUL: 'believed, but a "no" that rests on it is asked again',
    Freshness.AGING: "used, and looked at again behind the visitor's back",
    Freshness.OLD: "looked at again before it is used, half a second long",
    Freshness.EXPIRED: "too old to be used",
}


class Step(NamedTuple):
    """One step. name: of which kind; says: what was found, in a sentence; facts: the same for programs."""

    name: str
    says: str
    facts: Mapping[str, object]


@dataclass(slots=True)
class Steps:
    """The steps of the walk that led to the answer. sources: which rule a header field comes from, by its name.

    fetched: what was not in memory, in the order in which it was asked for.
    """

    taken: list[Step] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """A walk begins; what an earlier one, which ended at something to be fetched, has said is said again."""
        self.taken.clear()
        self.sources.clear()

    def say(self, name: str, says: str, **facts: object) -> None:
        """A step, in words of its own."""
        self.taken.append(Step(name, says, facts))

    def comes_from(self, names: Iterable[bytes], rule: str) -> None:
        """Header fields of the answer are due to a rule."""
        for name in names:
            self.sources[name.decode("latin-1").lower()] = rule

    # What the steps say.

    def host(self, host: str | None, target: Route) -> None:
        """Whose host it is, as far as host and path say."""
        match target:
            case SiteRequest(owner, path, prefix):
                how = "its first part names the owner" if prefix else "the host is the owner's, below the pages domain"
                self.say("host", f"{how}: sites of {owner}", rule="owner", owner=owner, path=str(path))
            case PreviewRequest(label, path):
                self.say("host", f"{label}: a preview's, below previewDomain", rule="preview", path=str(path))
            case PagesDomain(path):
                self.say("host", "the pages domain itself: the operator's site", rule="pages domain", path=str(path))
            case OwnRequest(path):
                self.say("host", "a path below /.pages/: this server's own, on every host", rule="own", path=str(path))
            case ForgejoRequest():
                self.say("host", "Forgejo's own host: passed through to it untouched", rule="forgejo")
            case OtherHost(name, path):
                says = f"{name} is not below the pages domain: a custom domain, or nobody's"
                self.say("host", says, rule="custom domain", host=name, path=str(path))
            case CleanPath(location):
                self.say("host", f"the path is not in its clean form, which is {location}", rule="clean path")
            case Refusal(status, reason):
                self.say("host", reason, rule="refused", host=host, status=status)

    def domain(self, host: str, found: object) -> None:
        """What is registered of a host."""
        if isinstance(found, Mapped):
            place = f"{found.owner}/{found.repository}" + (f"@{found.branch}" if found.branch else "")
            self.say("domain", f"{host} is registered for {place}", host=host, registered=True, site=place)
        elif found is None:
            self.say("domain", f"nobody has registered {host}", host=host, registered=False)
        else:
            self.say("domain", f"Redis does not say whose {host} is", host=host, registered=None)

    def repository(self, lookup: Lookup, freshness: Freshness, age: float, doubted: bool) -> None:
        """What is known of a repository, or of a branch of one."""
        key = "/".join(lookup.key)
        facts: dict[str, object] = {
            "repository": key,
            "branch": branch_of(lookup.key) or (lookup.repository.default_branch if lookup.repository else None),
            "age_seconds": round(age, 1),
            "freshness": freshness.name.lower(),
            "suspect": doubted,
            "stale_because": str(lookup.trouble) if lookup.trouble is not None else None,
            "commit": lookup.commit,
            "fault": lookup.fault.name.lower() if lookup.fault is not None else None,
        }
        if lookup.repository is not None:
            facts["called_now"] = f"{lookup.repository.owner}/{lookup.repository.name}"
            facts["public"] = lookup.repository.public
        if lookup.fault is Fault.TROUBLE:
            says = "nothing is known, and Forgejo gives no answer"
        elif lookup.fault is not None:
            why = lookup.fault.value + (f", line {lookup.line}" if lookup.line else "")
            says = f"not served: {why}" + (f" ({lookup.reason})" if lookup.reason else "")
        else:
            says = f"a site, at commit {(lookup.commit or '')[:12]}"
        says = f"{key}: {says}; seen {age:.0f} s ago, {_BASED_ON[freshness]}"
        if doubted:
            says += "; suspect, for Redis told of a change, or cannot tell of any now"
        if lookup.trouble is not None:
            says += f"; Forgejo was asked since and gave no answer: {lookup.trouble}"
        self.say("repository", says, **facts)

    def rule(self, site: Site, ruled: Ruled, verdict: str) -> None:
        """A rule of the site that the path meets, and what becomes of it."""
        file = next((name for name in ("_redirects", ".redirects") if name in site.rules.packed), "_redirects")
        says = f"{file}, line {ruled.line}: {ruled.status} to {ruled.to}: {verdict}"
        self.say("rule", says, file=file, line=ruled.line, status=ruled.status, to=ruled.to, verdict=verdict)

    def headers(self, rules: HeaderRules, added: Added) -> None:
        """Which rules of `_headers` say something of the path."""
        for rule in rules.behind(added):
            names = [name for name, _ in rule.fields]
            self.comes_from([name.encode() for name in names], f"_headers, line {rule.line}")
            says = f"_headers, line {rule.line}: {', '.join(names)}"
            self.say("header rule", says, line=rule.line, fields=names)

    def path(self, site: Site, segments: tuple[str, ...], slash: bool, outcome: Outcome) -> None:
        """What a path means in a site."""
        path = encode_path(segments, slash)
        match outcome:
            case File(name, _):
                says = f"the file {site.prefix or ''}{name}"
                self.say("path", f"{path}: {says}", path=path, outcome="file", file=f"{site.prefix or ''}{name}")
            case ToFolder() | ToFile():
                kind = "folder" if isinstance(outcome, ToFolder) else "page"
                self.say("path", f"{path}: is a {kind}, at another address", path=path, outcome=f"to {kind}")
            case Listing():
                self.say("path", f"{path}: a folder without index.html, which is listed", path=path, outcome="listing")
            case _:
                tried = _tried(site, segments, slash)
                where = site.prefix or ("the repository" if site.prefix == "" else "a branch that is not there")
                says = f"{path}: nothing. Looked for in {where}: {'; '.join(tried) or 'nothing'}"
                if not site.pages_file.directory_index and any(each.endswith(", a folder") for each in tried):
                    says += ". A folder without index.html is listed only with `directory_index: true` in .pages"
                self.say("path", says, path=path, outcome="missing", tried=tried)

    def file(self, site: Site, file: File, status: int, form: Representation, held: bool, forms: Sequence[str]) -> None:
        """Which bytes are sent. held: they are in memory; forms: of which codings the bytes are, too."""
        codings = [each.coding for each in form.encoded]
        says = f"{site.prefix or ''}{file.path}: blob {file.entry.id[:12]}, {form.size:,} bytes, {form.content_type}"
        says += ", in memory" if held else ", not in memory"
        if forms:
            says += f", and there as {', '.join(forms)}"
        self.say(
            "file",
            says,
            file=f"{site.prefix or ''}{file.path}",
            blob=file.entry.id,
            bytes=form.size,
            content_type=form.content_type,
            in_memory=held,
            encodings_offered=codings,
            encodings_in_memory=list(forms),
            under_status=status,
        )


class _Noting:
    """A tree that notes which names it is asked for."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.asked: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tree, name)

    def __len__(self) -> int:
        return len(self._tree)

    def find(self, path: str) -> Entry | None:
        found = self._tree.find(path)
        self.asked.setdefault(path, f"{path or '/'}, " + ("no file" if found is None else "a file"))
        return found

    def has_folder(self, path: str) -> bool:
        found = self._tree.has_folder(path)
        self.asked[f"{path}/"] = f"{path}/, " + ("a folder" if found else "no folder")
        return found


def _tried(site: Site, segments: tuple[str, ...], slash: bool) -> list[str]:
    """Which names a site looks for where a path means nothing to it."""
    noting = _Noting(site.tree)
    replace(site, tree=cast(Tree, noting)).outcome(segments, slash)
    return list(noting.asked.values())[:_MOST_TRIED]
