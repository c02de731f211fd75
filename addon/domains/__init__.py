# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Custom domains and branch hosts: claimed by a `.pages`, proven by DNS, registered in Redis, resolved, released.

`resolver` answers which site a host is, `registry` registers and releases behind the visitors' backs, `claims` decides
who may have what (pure), `store` and `transactions` change Redis in one step, `dns_proof` asks DNS. Begin with
`claims`.
"""
