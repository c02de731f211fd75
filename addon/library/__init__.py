# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is known of repositories and their files: memory over Redis over Forgejo, with one call for many who wait.

`library` is the face, `refresh` a look at a repository by way of what proxies share, `memory` the bound in bytes.
Begin with `library`.
"""
