# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""For how long what is known of a repository may be used, and what becomes of it when Forgejo gives no answer."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from addon.forgejo.answers import Access, Repository
from addon.forgejo.errors import ForgejoError, Overloaded, RateLimited, Unreachable
from addon.shared.lookup import (
    DISABLED,
    Fault,
    Former,
    Lookup,
    branch_of,
    key_of,
    repository_of,
    unknown,
    without_frames,
)
from addon.sites.pages_file import PagesFile
from addon.sites.site import Site, files_below

KEY = ("alice", "blog")
REPOSITORY = Repository("alice", "blog", 7, "main", False, True, False, "sha1", 1.0, Access.ANONYMOUS)
AWAY = Unreachable("no connection")


def site(commit: str = "a", files: int = 1) -> Site:
    tree = files_below([(f"public/{number}", 0o100644, "a" * 40, 3) for number in range(files)])
    return Site("alice", "blog", commit, 1.0, PagesFile(), tree)


SITE = Lookup(KEY, 1000.0, site(), repository=REPOSITORY, commit="a")
TROUBLED = replace(SITE, trouble=AWAY, retry=1400.0)
NONE = Lookup(KEY, 1000.0, fault=Fault.UNCONFIGURED, reason=DISABLED)


def test_a_key_is_that_of_a_repository_or_of_a_branch() -> None:
    assert key_of("Alice", "Blog") == KEY
    assert key_of("Alice", "Blog", "Dev@2") == ("alice", "blog@Dev@2")
    assert key_of("Alice", "Blog", "") == ("alice", "blog@")
    assert (branch_of(KEY), branch_of(("alice", "blog@Dev@2")), branch_of(("alice", "blog@"))) == (None, "Dev@2", "")
    assert repository_of(("alice", "blog@Dev@2")) == repository_of(KEY) == KEY


def test_what_is_not_said_of_a_lookup_is_nothing() -> None:
    bare = Lookup(KEY, 5.0)
    assert (bare.modified, bare.uses_lfs, bare.total, bare.failures, bare.retry) == (0.0, True, 0, 0, 0.0)
    assert (bare.suspect, bare.believed, bare.former) == (False, math.inf, ())


@pytest.mark.parametrize("fault", [None, *Fault])
def test_no_repository_and_no_pages_file_is_no_site(fault: Fault | None) -> None:
    assert replace(NONE, fault=fault).is_site == (fault not in (Fault.ABSENT, Fault.UNCONFIGURED))


# --- how long ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lookup", "ttl", "stale", "expected"),
    [
        (SITE, 300, 9_000, {299.9: "FRESH", 300: "AGING", 599.9: "AGING", 600: "OLD", 8_999: "OLD", 9_000: "EXPIRED"}),
        (
            NONE,
            300,
            9_000,
            {9.9: "FRESH", 10: "DOUBTFUL", 299.9: "DOUBTFUL", 300: "AGING", 600: "OLD", 9_000: "EXPIRED"},
        ),
        (NONE, 5, 9_000, {4.9: "FRESH", 5: "AGING", 10: "OLD"}),
        (SITE, 300, 200, {299.9: "FRESH", 300: "EXPIRED"}),
        (TROUBLED, 300, 1000, {399: "FRESH", 400: "AGING", 999: "AGING", 1000: "EXPIRED"}),
        (unknown(KEY, AWAY, 1000.0), 300, 1000, {1.9: "FRESH", 2: "EXPIRED"}),
    ],
)
def test_what_is_known_is_fresh_then_old_then_nothing(
    lookup: Lookup, ttl: float, stale: float, expected: dict[float, str]
) -> None:
    found = {age: lookup.freshness(1000.0 + age, ttl, stale).name for age in expected}
    assert found == expected


def test_a_yes_is_believed_for_as_long_as_the_settings_say_and_a_no_for_seconds() -> None:
    assert (SITE.fresh_until(300), SITE.good_until(300)) == (1300.0, 1300.0)
    assert (NONE.fresh_until(300), NONE.good_until(300)) == (1010.0, 1300.0)
    assert NONE.fresh_until(5) == 1005.0
    troubled = replace(NONE, trouble=AWAY, retry=1042.0)
    assert (troubled.fresh_until(300), troubled.good_until(300)) == (1042.0, 1042.0)


def test_what_is_suspect_or_believed_no_longer_is_doubted() -> None:
    assert not SITE.doubted(1e12)
    assert SITE.told_until == math.inf
    until = replace(SITE, believed=1005.0)
    assert [until.doubted(now) for now in (1004.9, 1005.0)] == [False, True]
    assert until.told_until == 1005.0
    suspect = replace(SITE, suspect=True)
    assert suspect.doubted(0.0)
    assert suspect.told_until == -math.inf


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_each_failed_look_is_followed_by_a_longer_pause_up_to_a_minute() -> None:
    lookup, pauses = SITE, []
    for _ in range(14):
        lookup = lookup.troubled(AWAY, 1000.0, 86_400)
        pauses.append(lookup.retry - 1000.0)
    assert pauses == [2, 4, 8, 16, 32, *[60] * 9]
    assert (lookup.failures, lookup.trouble, lookup.site, lookup.looked) == (14, AWAY, SITE.site, 1000.0)


@pytest.mark.parametrize(("error", "pause"), [(RateLimited, 7), (Overloaded, 7), (RateLimited, 100)])
def test_who_asks_for_a_pause_gets_it_up_to_a_minute(error: type[RateLimited] | type[Overloaded], pause: int) -> None:
    trouble = error("later", retry_after=pause)
    assert SITE.troubled(trouble, 1000.0, 86_400).retry == 1000.0 + min(pause, 60)
    assert unknown(KEY, trouble, 1000.0).retry == 1000.0 + min(pause, 60)
    assert SITE.troubled(error("soon", retry_after=1), 1000.0, 86_400).retry == 1002.0
    assert unknown(KEY, error("soon", retry_after=1), 1000.0).retry == 1002.0


def test_what_is_too_old_to_be_served_is_unknown() -> None:
    assert SITE.troubled(AWAY, 1099.9, 100).site is SITE.site
    gone = SITE.troubled(AWAY, 1100.0, 100)
    assert gone == unknown(KEY, AWAY, 1100.0)
    assert gone == Lookup(KEY, 1100.0, fault=Fault.TROUBLE, trouble=AWAY, failures=1, retry=1102.0)
    again = gone.troubled(AWAY, 1101.0, 100)
    assert (again.looked, again.failures, again.retry) == (1101.0, 1, 1103.0)


def raised(error: ForgejoError) -> ForgejoError:
    try:
        try:
            raise KeyError("a whole answer")
        except KeyError as cause:
            raise error from cause
    except ForgejoError:
        return error


def test_an_error_that_is_kept_holds_no_frames() -> None:
    for keep in (
        without_frames,
        lambda error: SITE.troubled(error, 1000.0, 86_400),
        lambda error: unknown(KEY, error, 0.0),
    ):
        error = raised(Unreachable("no connection"))
        assert error.__traceback__ is not None
        keep(error)
        assert [error.__traceback__, error.__context__, error.__cause__] == [None] * 3


# --- what comes to the same -------------------------------------------------------------------------------------------


def test_a_look_that_finds_the_same_commit_in_the_same_repository_is_spared() -> None:
    assert SITE.holds_for(REPOSITORY, "a")
    assert SITE.holds_for(replace(REPOSITORY, updated_at=9.0), "a")
    assert not SITE.holds_for(REPOSITORY, "b")
    assert not SITE.holds_for(replace(REPOSITORY, id=8), "a")
    assert not SITE.holds_for(replace(REPOSITORY, public=False), "a")
    assert not replace(SITE, repository=None).holds_for(REPOSITORY, "a")
    for fault in Fault:
        spared = fault not in (Fault.REFUSED, Fault.TROUBLE)
        assert replace(SITE, fault=fault).holds_for(REPOSITORY, "a") == spared


# --- former commits ---------------------------------------------------------------------------------------------------


def deployed(commits: str, *, every: float = 0.0, files: int = 1) -> Lookup:
    """What is known after so many deploys."""
    lookup, now = replace(SITE, site=site(commits[0], files), commit=commits[0]), 0.0
    for commit in commits[1:]:
        now += every
        lookup = replace(lookup, site=site(commit, files), commit=commit, former=()).after(lookup, now)
    return lookup


def test_a_page_that_was_loaded_before_a_deploy_gets_the_files_of_its_build_for_an_hour() -> None:
    lookup = deployed("ab")
    assert [(former.site.commit, former.until) for former in lookup.former] == [("a", 3600.0)]
    new = replace(SITE, site=site("c"), commit="c")
    assert [each.site.commit for each in new.after(lookup, 3599.9).former] == ["b", "a"]
    assert [each.site.commit for each in new.after(lookup, 3600.0).former] == ["b"]


def test_three_former_commits_are_remembered_the_newest_first_and_none_that_is_back() -> None:
    assert [each.site.commit for each in deployed("abcde").former] == ["d", "c", "b"]
    assert [each.site.commit for each in deployed("aba").former] == ["b"]
    assert [each.site.commit for each in deployed("abcb").former] == ["c", "a"]


def test_the_same_commit_keeps_what_was_before_it() -> None:
    lookup = deployed("ab")
    again = replace(lookup, former=())
    assert again.after(lookup, 10.0).former == lookup.former
    assert lookup.after(lookup, 10.0) is lookup
    assert lookup.after(lookup, 3600.0).former == ()


def test_what_is_no_site_has_nothing_before_it() -> None:
    assert NONE.after(deployed("ab"), 0.0) is NONE
    assert SITE.after(replace(NONE, former=(Former(site("b"), 9.0),)), 0.0) is SITE


def test_of_very_large_sites_no_former_commit_is_remembered() -> None:
    assert len(deployed("ab", files=20_000).former) == 1
    assert deployed("ab", files=20_001).former == ()
