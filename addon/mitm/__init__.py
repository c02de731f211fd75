# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What knows mitmproxy: its flows, its options, its own addons, and what it lacks as a public server, mended.

`flow_handler` is what its hooks do with a request, in the words of `flows`; `relay` streams through it, `upstream` sees
to its connections to Forgejo, `listening` opens and ends our listeners. `options` and `default_addons` set it up,
`http1` and `connection_timeouts` mend it, `listener_guard` takes back its open proxy. Begin with `flow_handler`.
"""
