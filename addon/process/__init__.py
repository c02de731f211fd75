# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The processes: `supervisor` opens the listening sockets once and keeps the workers; `worker` is what one knows of it.

Knows the system and the settings. Begin with `supervisor`.
"""
