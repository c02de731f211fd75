# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`PagesServer`: host → site → lock → path → file → answer, the same for the lane and for flows.

A request is followed downwards, each step a module and its one function: `hosts` (whose host it is), `sites` (which
site answers), `locks` (who may see it; `members` and `member_login` where Forgejo says it), `paths` (what the path
means there), `files` (which bytes, in which form), `answers` (what an answer is). Beside them: `repositories` (what is
known of one, and for how long), `site_branches` (where a site's files are), `mappings` (what is registered of a host),
`site_rules` and `site_headers` (what a site's own rules say), `site_page` (what its owner should know), `error_pages`
(what is shown where a step ends), `host_redirects` (to another scheme or host), `acme_challenges` (what authorities
ask), `steps` (what each of them tells, where somebody asks why). A module knows those after it alone. Begin with
`server`, which the lane and the flows call, then `hosts`.
"""
