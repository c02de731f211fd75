# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The JSON documents of Forgejo's API: repository, owner, branch, commit, tree, blob, contents.

Fields, order and values as recorded from Forgejo 16.0 (modules/structs, services/convert). What a preview cannot
know (stars, issues, languages) has the value of a fresh repository; settings may override any field.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from addon.preview.answers import percent
from addon.preview.objects import ObjectMissing
from addon.preview.registry import Owner, Place, Registry, Viewer
from addon.preview.repository import SUBMODULE, SYMLINK, TREE, Commit, Repository, Row, Signature
from addon.preview.settings import Flavour, Limits

NEVER = "0001-01-01T00:00:00Z"
EPOCH = "1970-01-01T00:00:00Z"
UNSIGNED = {
    "verified": False,
    "reason": "gpg.error.not_signed_commit",
    "signature": "",
    "signer": None,
    "payload": "",
}
Json = dict[str, Any]


class Documents:
    """Writes documents for one forge, whose address (`root_url`, with its slash) is in all of them."""

    def __init__(self, root_url: str, registry: Registry, flavour: Flavour, limits: Limits, ssh_user: str) -> None:
        self.root = root_url
        self.api = f"{root_url}api/v1/"
        self.registry = registry
        self.flavour = flavour
        self.limits = limits
        host = root_url.split("://", 1)[1].split("/", 1)[0]
        self.host = host.rsplit(":", 1)[0] if ":" in host.rsplit("]", 1)[-1] else host
        self.ssh = f"ssh://{ssh_user}@{self.host}/"

    def owner(self, owner: Owner, viewer: Viewer) -> Json:
        email = self.registry.email(owner)
        shown = email if viewer.signed_in and not owner.settings.organisation else f"{owner.name}@noreply.{self.host}"
        hashed = owner.name if owner.settings.organisation else email
        avatar = owner.settings.avatar or hashlib.md5(hashed.lower().encode(), usedforsecurity=False).hexdigest()
        return {
            "id": owner.id,
            "login": owner.name,
            "login_name": "",
            "source_id": 0,
            "full_name": "",
            "email": shown,
            "avatar_url": f"{self.root}avatars/{avatar}",
            "html_url": f"{self.root}{owner.name}",
            "language": "",
            "is_admin": False,
            "last_login": NEVER,
            "created": owner.settings.created,
            "restricted": False,
            "active": False,
            "prohibit_login": False,
            "location": "",
            "pronouns": "",
            "website": "",
            "description": "",
            "visibility": owner.settings.visibility,
            "followers_count": 0,
            "following_count": 0,
            "starred_repos_count": 0,
            "username": owner.name,
        }

    def repository(self, place: Place, viewer: Viewer) -> Json:
        settings, full = place.settings, place.full_name
        admin = viewer.user is not None and (
            self.registry.administers(place, viewer.user) or (viewer.token is not None and viewer.token.admin)
        )
        document: Json = {
            "id": place.id,
            "owner": self.owner(place.owner, viewer),
            "name": place.name,
            "full_name": full,
            "description": settings.description,
            "empty": place.repository.is_empty(),
            "private": settings.private,
            "fork": False,
            "template": False,
            "parent": None,
            "mirror": False,
            "size": 0,
            "language": "",
            "languages_url": f"{self.api}repos/{full}/languages",
            "html_url": f"{self.root}{full}",
            "url": f"{self.api}repos/{full}",
            "link": "",
            "ssh_url": f"{self.ssh}{full}.git",
            "clone_url": f"{self.root}{full}.git",
            "original_url": "",
            "website": "",
            "stars_count": 0,
            "forks_count": 0,
            "watchers_count": 1,
            "open_issues_count": 0,
            "open_pr_counter": 0,
            "release_counter": 0,
            "default_branch": self.default_branch(place),
            "archived": settings.archived,
            "created_at": settings.created,
            "updated_at": settings.updated or self._newest(place),
            "archived_at": (settings.updated or settings.created) if settings.archived else EPOCH,
            "permissions": {
                "admin": admin,
                "push": admin or viewer.user in settings.writers,
                "pull": self.registry.sees_code(place, viewer),
            },
            "has_issues": True,
            "internal_tracker": {
                "enable_time_tracker": True,
                "allow_only_contributors_to_track_time": True,
                "enable_issue_dependencies": True,
            },
            "has_wiki": True,
            "has_wiki_contents": False,
            "wiki_branch": "main",
            "wiki_ssh_url": f"{self.ssh}{full}.wiki.git",
            "wiki_clone_url": f"{self.root}{full}.wiki.git",
            "globally_editable_wiki": False,
            "has_pull_requests": True,
            "has_projects": True,
            "has_releases": True,
            "has_packages": True,
            "has_actions": True,
            "ignore_whitespace_conflicts": False,
            "allow_merge_commits": True,
            "allow_rebase": True,
            "allow_rebase_explicit": True,
            "allow_squash_merge": True,
            "allow_fast_forward_only_merge": True,
            "allow_rebase_update": True,
            "default_delete_branch_after_merge": False,
            "default_merge_style": "merge",
            "default_allow_maintainer_edit": False,
            "default_update_style": "merge",
            "avatar_url": "",
            "internal": not settings.private and place.owner.settings.visibility == "private",
            "mirror_interval": "",
            "object_format_name": place.repository.object_format,
            "mirror_updated": NEVER,
            "repo_transfer": None,
            "topics": [],
        }
        return document | dict(settings.fields)

    def default_branch(self, place: Place) -> str:
        return place.settings.default_branch or place.repository.default_branch() or "main"

    def branch(self, place: Place, name: str, viewer: Viewer) -> Json:
        commit = place.repository.commit(place.repository.branches()[name])
        may_push = viewer.user is not None and (
            self.registry.administers(place, viewer.user) or viewer.user in place.settings.writers
        )
        return {
            "name": name,
            "commit": {
                "id": commit.id,
                "message": commit.message,
                "url": f"{self.root}{place.full_name}/commit/{commit.id}",
                "author": self._payload_user(commit.author),
                "committer": self._payload_user(commit.committer),
                "verification": UNSIGNED,
                "timestamp": when(commit.author),
                "added": None,
                "removed": None,
                "modified": None,
            },
            "protected": False,
            "required_approvals": 0,
            "enable_status_check": False,
            "status_check_contexts": [],
            "user_can_push": may_push,
            "user_can_merge": may_push,
            "effective_branch_protection_name": "",
        }

    def tree(self, place: Place, oid: str, rows: Sequence[Row], page: int, per_page: int) -> Json:
        """A page of a tree. `truncated` is true on every page of several, the last too: Forgejo's bug, not Gitea's."""
        base = f"{self.api}repos/{place.full_name}/git/"
        begin = (page - 1) * per_page
        shown = rows[begin : begin + per_page]
        truncated = begin + per_page < len(rows) if self.flavour.gitea else bool(shown) and len(rows) > per_page
        return {
            "sha": oid,
            "url": f"{base}trees/{oid}",
            "tree": [self._row(place.repository, row, base) for row in shown] or None,
            "truncated": truncated,
            "page": page,
            "total_count": len(rows),
        }

    def blob(self, place: Place, oid: str) -> Json:
        """An object's bytes in base64; empty (Forgejo) or null (Gitea) above the limit. Raises ObjectMissing."""
        size = place.repository.source.header(oid).size
        content: str | None = None if self.flavour.gitea else ""
        within = size <= self.limits.default_max_blob_size
        if within:
            content = base64.b64encode(place.repository.source.read(oid)[1]).decode()
        return {
            "content": content,
            "encoding": "base64" if within or not self.flavour.gitea else None,
            "url": f"{self.api}repos/{place.full_name}/git/blobs/{oid}",
            "sha": oid,
            "size": size,
        }

    def reference(self, place: Place, name: str, oid: str) -> Json:
        kind = place.repository.source.header(oid).kind
        base = f"{self.api}repos/{place.full_name}/git"
        return {
            "ref": name,
            "url": f"{base}/{percent(name)}",
            "object": {"type": kind, "sha": oid, "url": f"{base}/{kind}s/{oid}"},
        }

    def commit(self, place: Place, commit: Commit, viewer: Viewer, *, verification: bool) -> Json:
        """A commit. Its `tree.sha` repeats the commit's id, as Forgejo's does."""
        base = f"{self.api}repos/{place.full_name}/git"
        return {
            "url": f"{base}/commits/{commit.id}",
            "sha": commit.id,
            "created": when(commit.committer),
            "html_url": f"{self.root}{place.full_name}/commit/{commit.id}",
            "commit": {
                "url": f"{base}/commits/{commit.id}",
                "author": _dated(commit.author),
                "committer": _dated(commit.committer),
                "message": commit.message,
                "tree": {
                    "url": f"{base}/trees/{commit.id}",
                    "sha": commit.id,
                    "created": when(commit.committer),
                },
                "verification": UNSIGNED if verification else None,
            },
            "author": self._account(commit.author, viewer),
            "committer": self._account(commit.committer, viewer),
            "parents": [{"url": f"{base}/commits/{oid}", "sha": oid, "created": NEVER} for oid in commit.parents],
            "files": None,
            "stats": None,
        }

    def contents(self, place: Place, ref: str, commit: str, row: Row, *, whole: bool) -> Json:
        """A file, folder, link or submodule of a commit; `whole`: with the content, as when asked for by itself."""
        repository = place.repository
        path = row.path.decode(errors="replace")
        escaped = percent(row.path.decode(errors="surrogateescape"))
        last = repository.last_touching(commit, row.path)
        api = f"{self.api}repos/{place.full_name}/"
        self_url = f"{api}contents/{escaped}?ref={percent(ref, safe='')}"
        kind = _content_kind(row.mode)
        git_url = html_url = raw_url = None
        size = 0
        if kind != "submodule":
            git_url = f"{api}git/{'trees' if kind == 'dir' else 'blobs'}/{row.id}"
            where = "commit" if repository.is_id(ref) else ("tag" if repository.tag(ref) else "branch")
            html_url = f"{self.root}{place.full_name}/src/{where}/{percent(ref)}/{escaped}"
            if kind != "dir":
                raw_url = f"{self.root}{place.full_name}/raw/{where}/{percent(ref)}/{escaped}"
                size = repository.source.header(row.id).size
        shown: Json = {"encoding": None, "content": None}
        if kind == "file" and whole:
            blob = self.blob(place, row.id)
            shown = {"encoding": blob["encoding"], "content": blob["content"]}
        target = repository.source.read(row.id)[1].decode(errors="replace") if kind == "symlink" else None
        return {
            "name": path.rpartition("/")[2],
            "path": path,
            "sha": row.id,
            "last_commit_sha": last.id,
            "last_commit_when": when(last.committer),
            "type": kind,
            "size": size,
            **shown,
            "target": target,
            "url": self_url,
            "html_url": html_url,
            "git_url": git_url,
            "download_url": raw_url,
            "submodule_git_url": self._submodule(repository, commit, row) if kind == "submodule" else None,
            "_links": {"self": self_url, "git": git_url, "html": html_url},
        }

    def _row(self, repository: Repository, row: Row, base: str) -> Json:
        if row.mode == TREE:
            kind, size, url = "tree", 0, f"{base}trees/{row.id}"
        elif row.mode == SUBMODULE:
            kind, size, url = "commit", 0, ""
        else:
            kind, url = "blob", f"{base}blobs/{row.id}"
            size = repository.source.header(row.id).size
        return {
            "path": row.path.decode(errors="replace"),
            "mode": f"{row.mode:06o}",
            "type": kind,
            "size": size,
            "sha": row.id,
            "url": url,
        }

    def _submodule(self, repository: Repository, commit: str, row: Row) -> str | None:
        try:
            entry = repository.entry_at(repository.commit(commit).tree, b".gitmodules")
            text = repository.source.read(entry.id)[1].decode(errors="replace")
        except (KeyError, ObjectMissing):
            return None
        fields: dict[str, str] = {}
        for line in [*text.splitlines(), "["]:
            key, _, value = (part.strip() for part in line.partition("="))
            if key.startswith("["):
                if fields.get("path") == row.path.decode(errors="replace"):
                    return fields.get("url")
                fields = {}
            else:
                fields[key] = value
        return None

    def _payload_user(self, signature: Signature) -> Json:
        owner = self.registry.owner_by_email(signature.email)
        return {"name": signature.name, "email": signature.email, "username": owner.name if owner else ""}

    def _account(self, signature: Signature, viewer: Viewer) -> Json | None:
        owner = self.registry.owner_by_email(signature.email)
        return self.owner(owner, viewer) if owner else None

    def _newest(self, place: Place) -> str:
        repository = place.repository
        dates = [repository.commit(oid).committer.seconds for oid in repository.branches().values()]
        if not dates:
            return place.settings.created
        return datetime.fromtimestamp(max(dates), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def when(signature: Signature) -> str:
    """RFC 3339 with the signature's own offset."""
    moment = datetime.fromtimestamp(signature.seconds, timezone(timedelta(minutes=signature.offset)))
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _dated(signature: Signature) -> Json:
    return {"name": signature.name, "email": signature.email, "date": when(signature)}


def _content_kind(mode: int) -> str:
    return {TREE: "dir", SYMLINK: "symlink", SUBMODULE: "submodule"}.get(mode, "file")
