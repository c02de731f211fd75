# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
