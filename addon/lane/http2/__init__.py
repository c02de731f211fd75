# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HTTP/2 (RFC 9113) of our own: the face that browsers use.

`frames` are the bytes on the wire, `header_decoder` and `header_encoder` are HPACK (RFC 7541), `heads` says which
header lists are requests, `priorities` whose turn it is to send (RFC 9218), `budgets` what a client may ask without
any use. `protocol` is the protocol without a socket or a clock, driven by bytes; `connection` is the one room here that
has both. Begin with `protocol`.
"""
