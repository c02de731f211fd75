# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Questions to Forgejo or Gitea: typed answers, typed errors, limits.

`client` is the face, and asks of repositories and branches; `pulls` asks of pull requests and commits, `git_objects`
for trees and blobs, `large_files` for what is too large for memory; `commit_statuses` tells. `calls` gets a question
there, `limits` says how many at a time, `answers`, `pull_answers`, `blobs`, `lfs` and `streams` check what comes back,
`errors` is what can go wrong, `health_log` what is said of it. Begin with `client`.
"""
