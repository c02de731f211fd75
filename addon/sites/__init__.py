# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One commit of a repository as a web site: its files, its `.pages`, and what a path means in it. Pure.

`tree` holds the files packed, `pages_file` reads what the owner says, `site` turns a path into an outcome: a file, a
listing, a redirect to a folder, or nothing. `rules` are its rule files: `redirects` and `plugin_redirects` fill a
`redirect_table`, `headers` knows by `header_names` what a site may set; `rule_lines` is what they share. `findings` is
what an owner should know, `report` all of it. Knows no network and no visitor. Begin with `site`.
"""
