# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Questions to Forgejo or Gitea: typed answers, typed errors, limits.

`client` is all questions; `calls` gets one there, `limits` says how many at a time, `answers` and `blobs` check what
comes back, `streams` passes large files through, `errors` is what can go wrong. Begin with `client`.
"""
