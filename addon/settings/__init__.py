# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The settings file: text → values → what they say of each other; immutable afterwards.

`file` reads YAML and remembers lines, `options` says what each option is and how its text becomes a value, `schema`
lists all options, `rules` compares them with each other, `file_checks` looks at the files they name. Knows files
alone. Begin with `schema`.
"""
