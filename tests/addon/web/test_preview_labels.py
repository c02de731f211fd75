# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Labels of previews: short enough, read back to what they are of, and never two things' label."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.web.preview_labels import (
    LONGEST,
    PreviewLabel,
    branch_label,
    branch_part,
    commit_label,
    owner_part,
    pull_label,
    read,
    repository_part,
)
from addon.web.routing import host_name, is_owner_name, is_repository_name

COMMIT = "1e738430573329b106c32315de252169adee59c9"
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")

PLAIN = [
    ("feature-x--blog--alice", PreviewLabel("branch", "feature-x", "alice", "blog", False)),
    ("pr-12--blog--alice", PreviewLabel("pull", "12", "alice", "blog", False)),
    ("1e73843057--blog--alice", PreviewLabel("commit", "1e73843057", "alice", "blog", False)),
    (f"{COMMIT}--blog--alice", PreviewLabel("commit", COMMIT, "alice", "blog", False)),
    ("1e7384305--blog--alice", PreviewLabel("branch", "1e7384305", "alice", "blog", False)),
]


@pytest.mark.parametrize(("label", "meant"), PLAIN)
def test_a_label_says_what_and_whose(label: str, meant: PreviewLabel) -> None:
    assert read(label) == meant
    assert label.startswith(meant.first + "--")


def test_labels_are_made_as_they_are_read() -> None:
    assert branch_label("feature-x", "Blog", "Alice") == "feature-x--blog--alice"
    assert pull_label(12, "blog", "alice") == "pr-12--blog--alice"
    assert commit_label(COMMIT, "blog", "alice") == "1e73843057--blog--alice"
    for branch in ("feature/x", "Feature-x", "feature--x", "-", "pr-3", "xn", "1e738430573329", "ü", "x" * 900):
        label = branch_label(branch, "blog", "alice")
        assert label is not None
        meant = read(label)
        assert meant is not None
        assert (meant.kind, meant.text) == ("branch", branch_part(branch, "blog", "alice"))
        assert meant.text != branch


STRANGE = [
    "",
    "blog--alice",
    "a--b--c--d",
    "x--blog--alice.more",
    "--blog--alice",
    "x----alice",
    "x--blog--",
    "xn--blog--alice",
    "x--x-blog--alice",  # coded without need
    "x--blog--x-alice",
    "x--blog--xn",  # a name like any other, but the label is long enough to be one
    "x_y--blog--alice",
    "x--a.b--alice",
    "x" * 64,
    "x--" + "y" * 60 + "--z",
    "x--" + "y" * 55 + "--z",  # its place is shorter, with a hash
    "pr-0--blog--alice-",
    "x--x-99999999--alice",
]


@pytest.mark.parametrize("label", STRANGE)
def test_what_is_no_label_of_ours_is_none(label: str) -> None:
    found = read(label)
    assert found is None or found == PreviewLabel("branch", "x", "xn", "blog", False)


OWNERS = st.from_regex(r"[0-9a-z][0-9a-z._-]{0,39}", fullmatch=True).filter(is_owner_name)
REPOSITORIES = st.from_regex(r"[-.0-9A-Za-z_]{1,100}", fullmatch=True).filter(is_repository_name)
BRANCHES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=80)


@given(owner=OWNERS, repository=REPOSITORIES, branch=BRANCHES, number=st.integers(1, 99_999))
def test_every_label_is_a_host_name_and_leads_back(owner: str, repository: str, branch: str, number: int) -> None:
    labels = [
        branch_label(branch, repository, owner),
        pull_label(number, repository, owner),
        commit_label(COMMIT, repository, owner),
    ]
    for label in labels:
        if label is None:  # no room: the owner alone takes too much
            assert owner_part(owner) is None or len(str(owner_part(owner))) > 37
            continue
        assert len(label) <= LONGEST
        assert LABEL.fullmatch(label)
        assert host_name(f"{label}.preview.test") == f"{label}.preview.test"
        meant = read(label)
        assert meant is not None
        assert meant.owner == owner
        assert repository_part(repository, owner) == label.split("--")[1]
        if not meant.shortened:
            assert meant.repository == repository.lower()


def test_no_two_names_of_one_place_have_one_label() -> None:
    """Ten thousand branches that look alike, and repositories and owners of all that Forgejo allows in few letters."""
    letters = ["feature", "Feature", "FEATURE", "x", "0", "ab"]
    joints = ["-", "/", "_", ".", "--", "-/", "+"]
    branches = {
        "".join(each) for each in itertools.product(letters, joints, letters, joints, letters) if len(set(each)) > 2
    }
    branches |= {f"{'long-' * 20}{number}" for number in range(2000)}
    assert len({branch_part(branch, "blog", "alice") for branch in branches}) == len(branches) > 9000
    names = {"".join(each) for count in range(1, 5) for each in itertools.product("ax-._", repeat=count)}
    repositories = {name for name in names if is_repository_name(name)}
    assert len({repository_part(name, "alice") for name in repositories}) == len(repositories) > 500
    owners = {name for name in names if is_owner_name(name)}
    assert len({owner_part(name) for name in owners}) == len(owners) > 50
    # Nor can what one part says be moved into another.
    parts = {f"{repository_part(name, owner)}--{owner_part(owner)}" for name in repositories for owner in ("a", "x-a")}
    assert len(parts) == 2 * len(repositories)
    assert not any("--" in str(owner_part(name)) for name in owners)


@pytest.mark.parametrize(
    ("repository", "owner", "shortened"),
    [
        ("r" * 41, "alice", False),
        ("r" * 42, "alice", True),
        ("r" * 45, "a", False),
        ("r" * 46, "a", True),
        ("r" * 9, "a" * 40, False),
        ("r" * 10, "a" * 40, True),
        ("r" * 9, "a" * 37, False),
        ("r" * 10, "a" * 37, True),
        ("r" * 10, "a" * 36, False),
        ("0" + "a" * 8, "alice", True),  # which looks shortened
        ("0" + "a" * 7, "alice", False),
        ("x-y", "alice", False),
    ],
)
def test_a_repository_has_the_room_that_its_owner_and_a_pull_request_leave(
    repository: str, owner: str, shortened: bool
) -> None:
    part = repository_part(repository, owner)
    assert part is not None
    assert (re.fullmatch(r"(?:[a-z0-9-]+-)?0[a-z2-7]{8}", part) is not None) is shortened
    if not shortened and not repository.startswith("x-"):
        assert part == repository
    label = pull_label(1_234_567_890, repository, owner)
    assert (label is None) is (len(owner) + len(part) + 4 + 13 > LONGEST)


def test_an_owner_has_room_for_forty_characters_however_they_are_written() -> None:
    sizes = set()
    for count in range(20, 41):
        for owner in ("a" * count, "a." * (count // 2) + "a", "a" * (count - 2) + ".b"):
            coded = owner if owner.isalnum() else "x-" + owner.replace(".", "\x81").encode("punycode").decode()
            part = owner_part(owner)
            sizes.add(len(coded))
            assert part == (coded if len(coded) <= 40 else None)
    assert {40, 41} <= sizes


@pytest.mark.parametrize(("length", "whole"), [(54, True), (55, False)])
def test_a_branch_has_the_room_that_is_left(length: int, whole: bool) -> None:
    branch = "x" * length
    part = branch_part(branch, "repo", "a")
    assert part is not None
    assert (part == branch) is whole
    label = branch_label(branch, "repo", "a")
    assert label is not None
    assert len(label) <= 63
