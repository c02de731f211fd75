# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which password stands before a site or one of its branch hosts. Pure.

`password` locks the whole site, its branch hosts too; `branchesPassword` replaces it on branch hosts, and alone locks
only those. Both come from the default branch's `.pages`. What Redis holds as `password:{owner}:{repository}` may add a
lock where `.pages` names none, and does nothing else: whoever can write there can close a site, not open one.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote

from addon.access.passwords import PasswordHash, parse_hash


@dataclass(frozen=True, slots=True)
class Lock:
    """What has to be known to see a site (or one of its branches), prepared for checking.

    site: `owner/repository` in lower case. tally: under which name guesses are counted, one for each password of a
    site. cookie: the name of the cookie. context: what a cookie's signature covers besides its expiry.
    """

    site: str
    branch: str | None
    hash: PasswordHash
    tally: str
    cookie: bytes
    context: bytes = field(repr=False)


def lock_of(
    owner: str, repository: str, password: str, branches_password: str = "", branch: str | None = None, added: str = ""
) -> Lock | None:
    """The lock before a site; None where everybody may enter.

    owner, repository: as Forgejo writes them. password, branches_password: as in `.pages`, empty where it has none.
    branch: the branch of a branch host, None on the site's own addresses. added: the value in Redis. Raises AccessFault
    for what is no hash: the site has to stay closed then.
    """
    main, name = (password, "password") if password else (added, "the password in Redis")
    for_branches = branch is not None and bool(branches_password)
    text = branches_password if for_branches else main
    if not text:
        return None
    return _lock(owner, repository, branch, text, "branchesPassword" if for_branches else name)


# By the hash that counts alone: what else stands in `.pages` may be as long as its owner likes.
@lru_cache(4096)
def _lock(owner: str, repository: str, branch: str | None, text: str, option: str) -> Lock:
    hash = parse_hash(text, option)
    site = f"{owner}/{repository}".lower()
    kind = "main" if branch is None else "branch"
    return Lock(
        site,
        branch,
        hash,
        f"{site}#branches" if option == "branchesPassword" else site,
        cookie_name(owner, repository, branch is not None),
        "\0".join(("login", site, kind, branch or "", hash.text, "")).encode("utf-8", "surrogatepass"),
    )


def cookie_name(owner: str, repository: str, branch: bool) -> bytes:
    """The cookie's name, as in the Traefik plugin.

    The owner is in lower case, since it is part of a host; the repository as Forgejo writes it, since it is part of a
    path, in which case counts. All that Forgejo allows in names may stand in a cookie's (RFC 6265, section 4.1.1: a
    token); anything else would be percent-encoded.
    """
    kind = "pages_branch_auth" if branch else "pages_auth"
    return f"{kind}_{quote(owner.lower(), safe='')}_{quote(repository, safe='')}".encode("ascii")
