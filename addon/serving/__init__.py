# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`PagesServer`: host → site → lock → path → file → answer, the same for every face.

`server` is the way of a request, `files` the answer of one file, `answers` what needs none, `host_redirects` who is
sent to another scheme or host, `acme_challenges` what authorities ask. Begin with `server`.
"""
