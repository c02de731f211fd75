# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HTTP/2 (RFC 9113) of our own: the face that browsers use. Without a socket, a clock or a task.

`frames` are the bytes on the wire, `header_decoder`, `header_encoder` and `huffman` HPACK (RFC 7541); `heads` says
which header lists are requests, and `head_reader` remembers them; `streams`, `ended_streams` and `flow_control` are
what is under way; `priorities` says whose turn it is (RFC 9218), `abuse_limits` what a client may ask without any use.
`protocol` holds it all and is driven by bytes; `answering` is what it wants of whoever answers, `answers` how answers
are prepared for it. The socket is in `addon.lane.http2_connection`. Begin with `protocol`.
"""
