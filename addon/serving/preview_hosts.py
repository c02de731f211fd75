# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The hosts below `previewDomain`: which preview a label means, who may see it, and what a path gets there.

In this order: the label, the repository with its default branch's `.pages`, the lock, and only then whether there is
such a preview; nobody who may not see a site learns which branches it has. What is entered is the site's own
right once more: no login of the site or of another preview counts here. A private repository without a lock has no
previews at all, for `publish_private` was said of its site. All that is shown is read by the commit that Forgejo named,
from the base repository; then paths, rules and files are as on any site.
"""

import math
from typing import Any

from addon.forgejo.errors import ForgejoError
from addon.library.deploy_previews import (
    DeployPreviews,
    Preview,
    PreviewCommit,
    PreviewTable,
    Trouble,
    commit_key,
    commit_preview,
    shows_previews,
    table_key,
)
from addon.library.library import REFRESH_PATIENCE
from addon.serving.answers import Answer, Need, Request, Work, answer_to_method, trouble_page
from addon.serving.error_pages import ErrorPages
from addon.serving.locks import Entered, Locks, SitePath
from addon.serving.members import Hidden
from addon.serving.paths import Paths
from addon.serving.preview_marks import marked, takes_bar, whole, with_bar
from addon.serving.repositories import Repositories, wanted_with
from addon.shared.lookup import Fault, Lookup, key_of
from addon.web import preview_labels
from addon.web.preview_labels import PreviewLabel
from addon.web.routing import Path, PreviewRequest

NO_PREVIEW = "There is no such preview."
_HINT = (
    "A preview ends with its branch or pull request, and after a while without a change. Which there are is said by"
    " `previews` in the file `.pages` of the default branch. A pull request from a fork waits, after each push, until"
    " somebody who can write labels it `preview` or approves it."
)
_MOST_LISTED = 200


class PreviewHosts:
    """What the hosts of previews answer."""

    def __init__(
        self, previews: DeployPreviews, repositories: Repositories, locks: Locks, paths: Paths, errors: ErrorPages
    ) -> None:
        self._previews = previews
        self._repositories = repositories
        self._locks = locks
        self._paths = paths
        self._errors = errors

    def answer(self, request: Request, target: PreviewRequest, work: Work) -> Answer | Need:
        """What a request gets at a preview's host."""
        asked = preview_labels.read(target.label)
        place = target.label or "none"
        result: Answer | Need
        if asked is None:
            result = answer_to_method(request) or self._none(request, target.path, work)
        else:
            result = self._of_label(request, asked, target.path, work)
        return marked(result, place) if isinstance(result, Answer) else result

    def _of_label(self, request: Request, asked: PreviewLabel, path: Path, work: Work) -> Answer | Need:
        work.owner = asked.owner
        name = self._name(asked, work)
        if isinstance(name, Need):
            return name
        if name is None:
            return self._none(request, path, work)
        doubts: list[Need] = []
        lookup = self._repositories.lookup(key_of(asked.owner, name), None, work, doubts)
        if isinstance(lookup, Need):
            return lookup
        site = lookup.site
        if lookup.fault in (Fault.TROUBLE, Fault.REFUSED):
            return self._errors.faulty(request, lookup, f"{asked.owner}/{name}", work)
        if site is None or lookup.repository is None or not shows_previews(lookup):
            return doubts[0] if doubts else self._none(request, path, work)
        passed = self._locks.lock(request, lookup, site, (), path, work, f":{asked.first}")
        if isinstance(passed, Hidden):
            return self._none(request, path, work)
        if not isinstance(passed, Entered):
            return passed
        if not lookup.repository.public and not work.locked:
            return self._none(request, path, work)
        found = self._preview(asked, lookup, work)
        if isinstance(found, Need):
            return found
        if work.steps is not None and not isinstance(found, ForgejoError):
            says = "there is none, or nobody has consented to it" if found is None else f"{found.kind} {found.name}"
            work.steps.say("preview", says, commit=None if found is None else found.commit)
        if isinstance(found, ForgejoError):
            return trouble_page(request, found)
        made = self._commit(request, found, lookup, path, work) if found is not None else None
        if isinstance(made, Need):
            return made
        if isinstance(made, ForgejoError):
            return trouble_page(request, made)
        unread = answer_to_method(request)
        if unread is not None:
            return unread
        if found is None or made is None or self._previews.too_old(found, made):
            return self._none(request, path, work)
        if made.lookup.fault in (Fault.TOO_MANY_FILES, Fault.TOO_LARGE):
            return self._errors.faulty(request, made.lookup, f"{asked.owner}/{name}", work)
        work.shown = made.lookup
        entered = passed.at(made.lookup)
        if entered is None:
            return self._none(request, path, work)
        return self._shown(request, entered, site.pages_file.preview_banner, asked.first, path, work)

    def _name(self, asked: PreviewLabel, work: Work) -> str | Need | None:
        """The repository's name; None where the label means none."""
        known = self._previews.known_name(asked)
        if known is None:
            key = ("preview name", asked.owner, asked.repository)
            if key not in work.done:
                return Need(key, lambda: self._previews.called(asked))
            known = work.done[key]  # type: ignore[assignment]  # what `called` gave
        if asked.shortened:
            work.good_until = -math.inf
        return known if isinstance(known, str) else None

    def _table(self, lookup: Lookup, work: Work) -> PreviewTable | Need | ForgejoError:
        """A repository's previews, if they may be used."""
        previews = self._previews
        known = previews.table(lookup)
        until = previews.good_until(known) if isinstance(known, PreviewTable) else -math.inf
        look = ("previews", *lookup.key)
        done = work.done.get(look)
        fresh = isinstance(known, PreviewTable) and not known.doubted and previews.fresh(known)
        if isinstance(known, PreviewTable) and (fresh or done is known):
            work.facts.append((table_key(lookup.key), known))
            work.good_until = min(work.good_until, until)
            return known
        work.good_until = -math.inf
        if done is None:
            if isinstance(known, Trouble):
                return known.error
            patience = REFRESH_PATIENCE if isinstance(known, PreviewTable) and previews.usable(known) else None
            return Need(look, lambda: previews.look(lookup), patience)
        if isinstance(done, PreviewTable):
            return done
        if isinstance(known, PreviewTable) and previews.usable(known):
            return known
        return done.error if isinstance(done, Trouble) else done  # type: ignore[return-value]  # patience ran out

    def _preview(self, asked: PreviewLabel, lookup: Lookup, work: Work) -> Preview | Need | ForgejoError | None:
        """The preview that a label asks for; None where there is none."""
        table = self._table(lookup, work)
        if not isinstance(table, PreviewTable):
            return table
        if asked.kind != "commit":
            return table.find(asked)
        if not table.rules.commits:
            return None
        known = self._previews.resolved(lookup, table, asked.text)
        if known is None:
            key = ("preview commit", *lookup.key, asked.text)
            if key not in work.done:
                return Need(key, lambda: self._previews.resolve(lookup, table, asked.text))
            known = work.done[key]  # type: ignore[assignment]  # what `resolve` gave
        if isinstance(known, Trouble):
            work.good_until = -math.inf
            return known.error
        if not isinstance(known, str):
            work.good_until = -math.inf
            return None
        return commit_preview(lookup, known)

    def _commit(
        self, request: Request, preview: Preview, lookup: Lookup, path: Path, work: Work
    ) -> PreviewCommit | Need | ForgejoError:
        """What a preview shows."""
        known = self._previews.held(lookup, preview.commit)
        if isinstance(known, PreviewCommit):
            work.facts.append((commit_key(lookup.key, preview.commit), known))
            work.good_until = min(work.good_until, self._previews.shown_until(preview, known))
            return known
        work.good_until = -math.inf
        key = ("preview", *lookup.key, preview.commit)
        done = work.done.get(key)
        if done is None and known is None:
            wanted = wanted_with(request, path.segments, path.slash)
            return Need(key, lambda: self._previews.load(lookup, preview.commit, wanted))
        if isinstance(done, PreviewCommit):
            return done
        trouble = done if isinstance(done, Trouble) else known
        assert trouble is not None
        return trouble.error

    def _shown(
        self, request: Request, entered: Entered, banner: str, place: str, path: Path, work: Work
    ) -> Answer | Need:
        if not banner:
            return self._of_path(request, entered, path, work)
        answer = self._of_path(whole(request), entered, path, work)
        if not isinstance(answer, Answer):
            return answer
        if takes_bar(answer):
            return with_bar(request, answer, banner, place)
        return self._of_path(request, entered, path, work)

    def _of_path(self, request: Request, entered: Entered, path: Path, work: Work) -> Answer | Need:
        at = SitePath(request, entered, path.segments, path, work)
        answer = self._paths.path(at)
        if answer is None:
            answer = self._paths.missing(at)
        if isinstance(answer, int):
            return self._errors.missing(request, entered, path, work, answer, root=() if path.segments else None)
        return answer

    def _none(self, request: Request, path: Path, work: Work) -> Answer | Need:
        return self._errors.error(request, 404, work, message=NO_PREVIEW, hint=_HINT, path=path)

    def listed(self, entered: Entered, work: Work) -> list[dict[str, Any]] | Need:
        """The previews of a site, for who may see it; none where previews may have other readers than the site."""
        key = entered.lookup.key
        lookup = self._repositories.known(key) if self._previews.domain is not None else None
        if lookup is None or lookup.site is None or lookup.repository is None or not shows_previews(lookup):
            return []
        if lookup.site.pages_file.branches_password or not (lookup.repository.public or work.locked):
            return []
        table = self._table(lookup, work)
        if isinstance(table, Need):
            return table
        if not isinstance(table, PreviewTable):
            return []
        domain = self._previews.domain
        return [
            {"of": each.kind, "name": each.name, "commit": each.commit, "host": f"{each.label}.{domain}"}
            for each in table.all()[:_MOST_LISTED]
        ]
