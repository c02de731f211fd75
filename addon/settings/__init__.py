# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The settings file: text → values → what they say of each other; immutable afterwards.

`option_list` is the list of all options; `options` says what kinds there are and how text becomes a value. `schema`
makes `Settings` of a file: `file` reads YAML and remembers lines, `reader` finds each value, `rules` compares them with
each other, `file_checks` looks at the files they name. Knows files alone. Begin with `option_list`.
"""
