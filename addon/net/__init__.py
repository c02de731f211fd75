# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The network, and nobody's meaning: sockets, TLS, certificates, a small HTTP client.

Imports no other package of ours. `listeners` opens the sockets that visitors come to, `certificates` and
`tls_transport` put TLS on them, `http_client` is how we ask Forgejo, `http_connection` one connection of it. Begin with
`http_client`.
"""
