# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a forge of one is told: owners, repositories, tokens, limits, and which forge it plays.

Plain data without defaults that need a clock or a network. It may be changed while the forge runs (a repository made
private, a token revoked): the next request sees it, as on a real forge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from addon.preview.pull_requests import PullRequest

READ_REPOSITORY = "read:repository"
READ_ISSUE = "read:issue"
"""For what issues and pull requests have in common, whose routes ask for this scope alone."""


@dataclass
class OwnerSettings:
    """A user or organisation; `visibility` is public, limited (signed-in only) or private (members only)."""

    id: int | None = None
    visibility: str = "public"
    organisation: bool = False
    email: str | None = None
    avatar: str | None = None
    created: str = "2026-01-01T00:00:00Z"
    members: frozenset[str] = frozenset()
    password: str | None = None  # with which a user may log in to the web interface
    prohibited: bool = False  # from signing in, or not active


@dataclass
class RepositorySettings:
    """What the database of a real forge knows of a repository; `fields` overrides any field of its JSON."""

    id: int | None = None
    private: bool = False
    archived: bool = False
    hidden_code: bool = False  # the code unit is switched off: everything below the repository is 404
    readers: frozenset[str] = frozenset()
    writers: frozenset[str] = frozenset()
    no_code: frozenset[str] = frozenset()  # members of a team that may see issues, and no code
    default_branch: str | None = None
    description: str = ""
    created: str = "2026-01-01T00:00:00Z"
    updated: str | None = None  # None: the newest branch's committer date
    fields: Mapping[str, object] = field(default_factory=dict)
    pulls: list[PullRequest] = field(default_factory=list)
    statuses: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by commit, the oldest first


@dataclass(frozen=True)
class Token:
    """A personal access token: whose it is and what it may do. `admin` reads everything."""

    user: str
    scopes: frozenset[str] = frozenset({READ_REPOSITORY})
    public_only: bool = False
    admin: bool = False

    def allows(self, scope: str) -> bool:
        """Whether the token has a scope such as `read:repository`; `write:` includes `read:`, `all` everything."""
        wanted = {"all", scope, scope.replace("read:", "write:", 1)}
        return not wanted.isdisjoint(self.scopes)


@dataclass(frozen=True)
class Application:
    """An OAuth2 application: what it may be sent back to, and whether it keeps a secret."""

    client_id: str
    secret: str
    redirect_uris: tuple[str, ...]
    name: str = "pages"
    owner: str = ""
    confidential: bool = True


@dataclass
class Policy:
    """What an administrator may change. lfs_storage_url: where `/media` sends for LFS objects, as with SERVE_DIRECT."""

    require_sign_in: bool = False
    access_token_seconds: int = 3600
    lfs_storage_url: str | None = None


@dataclass(frozen=True)
class Limits:
    """The `[api]` section of app.ini with its defaults."""

    max_response_items: int = 50
    default_paging_num: int = 30
    default_git_trees_per_page: int = 1000
    default_max_blob_size: int = 10 * 1024 * 1024


@dataclass(frozen=True)
class Flavour:
    """Which forge is played, and in what it differs for a client."""

    version: str = "16.0.0+gitea-1.22.0"
    gitea: bool = False
    batch: bool = True  # `git/blobs?shas=`: Forgejo 12 and newer
    name: str = "Forgejo"


FORGEJO_16 = Flavour()
FORGEJO_11 = Flavour(version="11.0.3+gitea-1.22.0", batch=False)
GITEA = Flavour(version="1.27.1", gitea=True, batch=False, name="Gitea")
