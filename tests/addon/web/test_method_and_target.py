# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Method, scheme and target: which are of the form that anything is looked at of, and how a target is divided."""

import pytest

from addon.web.method_and_target import path_and_query, request_fault


@pytest.mark.parametrize(
    ("method", "target", "scheme", "fault"),
    [
        (b"GET", b"/", None, None),
        (b"GET", b"/", b"https", None),
        (b"GET", b"/", b"HTTP", None),
        (b"FOO", b"/a?b", None, None),
        (b"OPTIONS", b"*", None, None),
        (b"A" * 64, b"/", None, None),
        (b"GET", b"/\x80\xff~", None, None),
        (b"A" * 65, b"/", None, "method"),
        (b"", b"/", None, "method"),
        (b"G ET", b"/", None, "method"),
        (b"CONNECT", b"/", None, "method"),
        (b"GET", b"/", b"ftp", "scheme"),
        (b"GET", b"/", b"", "scheme"),
        (b"GET", b"*", None, "target"),
        (b"OPTIONS", b"", None, "target"),
        (b"OPTIONS", b"**", None, "target"),
        (b"GET", b"a", None, "target"),
        (b"GET", b"", None, "target"),
        (b"GET", b"/a b", None, "target"),
        (b"GET", b"/\x7f", None, "target"),
        (b"GET", b"/a\n", None, "target"),
        (b"GET", b"http://a.test/", None, "target"),
        (b"CONNECT", b"*", b"ftp", "method"),
        (b"GET", b"*", b"ftp", "scheme"),
    ],
)
def test_what_is_not_of_the_form_is_said(method: bytes, target: bytes, scheme: bytes | None, fault: str | None) -> None:
    found = request_fault(method, target, scheme)
    if fault is None:
        assert found is None
    else:
        assert found is not None
        assert found.startswith(f"The {fault} ")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a", "/a", None),
        (b"/a?", "/a", ""),
        (b"/a?b?c", "/a", "b?c"),
        (b"*", "*", None),
        (b"/\xc3\xa9\xff?\xff", "/é\udcff", "\udcff"),
    ],
)
def test_a_target_is_divided_at_its_first_question_mark(target: bytes, path: str, query: str | None) -> None:
    assert path_and_query(target) == (path, query)
