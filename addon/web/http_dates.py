# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Dates as HTTP writes them (RFC 9110 §5.6.7): one form is sent, three are understood. Pure."""

import re
from calendar import timegm
from datetime import date
from functools import lru_cache
from time import gmtime

_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_TIME = rb"([0-9]{2}):([0-9]{2}):([0-9]{2})"
_SHORT_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = rb"(" + b"|".join(_MONTHS) + rb")"
_IMF_FIXDATE = re.compile(_SHORT_DAY + rb", ([0-9]{2}) " + _MONTH + rb" ([0-9]{4}) " + _TIME + rb" GMT")
_RFC850 = re.compile(_LONG_DAY + rb", ([0-9]{2})-" + _MONTH + rb"-([0-9]{2}) " + _TIME + rb" GMT")
_ASCTIME = re.compile(_SHORT_DAY + rb" " + _MONTH + rb" ([0-9]{2}| [0-9]) " + _TIME + rb" ([0-9]{4})")


@lru_cache(maxsize=1024)
def http_date(seconds: int) -> bytes:
    """Seconds since the epoch as the one form of date that may be sent (RFC 9110 §5.6.7)."""
    t = gmtime(seconds)
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        _DAYS[t.tm_wday], t.tm_mday, _MONTHS[t.tm_mon - 1], t.tm_year, t.tm_hour, t.tm_min, t.tm_sec,
    )  # fmt: skip


def parse_http_date(value: bytes) -> int | None:
    """Seconds since the epoch of a date in any of the three forms of RFC 9110 §5.6.7; None for anything else."""
    return _parsed_date(value.strip(b" \t")) if len(value) <= 64 else None


@lru_cache(maxsize=1024)
def _parsed_date(value: bytes) -> int | None:
    if match := _IMF_FIXDATE.fullmatch(value):
        day, month, year, *time = match.groups()
    elif match := _ASCTIME.fullmatch(value):
        month, day, *time, year = match.groups()
    elif match := _RFC850.fullmatch(value):
        day, month, year, *time = match.groups()
        # A year that seems more than 50 years ahead is the last one with these digits.
        this_year = date.today().year
        full = this_year - this_year % 100 + int(year)
        year = b"%d" % (full - 100 if full > this_year + 50 else full)
    else:
        return None
    hour, minute, second = map(int, time)
    if hour > 23 or minute > 59 or second > 60:  # 60: a leap second
        return None
    try:
        valid = date(int(year), _MONTHS.index(month) + 1, int(day))
    except ValueError:
        return None
    return timegm((valid.year, valid.month, valid.day, hour, minute, second))
