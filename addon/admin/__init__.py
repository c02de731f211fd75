# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""For who runs it: the admin listener, its operations, the webhook, the access log.

`listener` speaks HTTP on `adminListen`, `operations` does what it is asked, `webhook` hears of pushes, as
`webhook_payload` reads them, `changes` tells of them to all who have to know, `explain` says why an address answers as
it does, `answer_meter` and `component_metrics` count for `metrics`, `component_health` judges what they count,
`site_list` and `status_page` show it, `cache_warming` loads sites, `access_log` writes a line a request. Begin with
`listener`.
"""
