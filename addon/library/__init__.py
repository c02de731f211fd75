# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is known of repositories and their files: memory over Redis over Forgejo, with one call for many who wait.

`library` is the interface: what is known of a repository and how long it is good for. `site_loader` is a look at
Forgejo, from a name to a site; `refresh` the same by way of what proxies share; `deploy_previews` which previews there
are, `pull_consents` of whose pull requests, `preview_reports` tells of them; `blobs` the bytes of files; `readers` who
may read a repository, by Forgejo; `memory` the bound in bytes of all that is held. Begin with `library`.
"""
