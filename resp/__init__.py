# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A client for Redis and Valkey servers, written in Python alone and needing nothing else.

    import resp

    client = resp.Client.from_url("redis://localhost:6379/0")
    client.setex("greeting", 60, b"hello")
    client.get("greeting")                      # b"hello"

One `Client` serves all threads of a program. Every call has a deadline, and everything that can go wrong is a
`RespError`; `resp.errors` says which one means what. Bytes go in (str, int and float are converted), bytes come out.
"""

from resp.breaker import Breaker
from resp.client import Client
from resp.cluster_tracking import ClusterTracking
from resp.commands import Lock, Script
from resp.connection import Connection
from resp.encoding import encode_command
from resp.endpoint import Endpoint
from resp.errors import (
    Ask,
    AuthenticationError,
    BreakerOpen,
    Busy,
    ClientClosed,
    ClusterDown,
    ConnectionLost,
    CrossSlot,
    Desynchronised,
    ExecAborted,
    InvalidArgument,
    Loading,
    LockError,
    LockNotOwned,
    MasterDown,
    Moved,
    NoPermission,
    NoProtocol,
    NoScript,
    NotEnoughReplicas,
    OutOfMemory,
    PersistenceFailed,
    PoolExhausted,
    ProtocolError,
    ReadOnly,
    Redirected,
    RespError,
    ServerError,
    TemporaryError,
    Timeout,
    TooManyClients,
    TryAgain,
    WatchError,
    WritesRefused,
    WrongType,
)
from resp.metrics import Metrics
from resp.observer import Observer
from resp.pipeline import Pipeline, Transaction
from resp.pool import Pool, PoolStats
from resp.protocol import Parser
from resp.pubsub import PubSub
from resp.retry import Retry
from resp.source import Stats
from resp.tracking import State, Status, Tracking
from resp.values import INCOMPLETE, Push

__all__ = [
    "INCOMPLETE",
    "Ask",
    "AuthenticationError",
    "Breaker",
    "BreakerOpen",
    "Busy",
    "Client",
    "ClientClosed",
    "ClusterDown",
    "ClusterTracking",
    "Connection",
    "ConnectionLost",
    "CrossSlot",
    "Desynchronised",
    "Endpoint",
    "ExecAborted",
    "InvalidArgument",
    "Loading",
    "Lock",
    "LockError",
    "LockNotOwned",
    "MasterDown",
    "Metrics",
    "Moved",
    "NoPermission",
    "NoProtocol",
    "NoScript",
    "NotEnoughReplicas",
    "Observer",
    "OutOfMemory",
    "Parser",
    "PersistenceFailed",
    "Pipeline",
    "Pool",
    "PoolExhausted",
    "PoolStats",
    "ProtocolError",
    "PubSub",
    "Push",
    "ReadOnly",
    "Redirected",
    "RespError",
    "Retry",
    "Script",
    "ServerError",
    "State",
    "Stats",
    "Status",
    "TemporaryError",
    "Timeout",
    "TooManyClients",
    "Tracking",
    "Transaction",
    "TryAgain",
    "WatchError",
    "WritesRefused",
    "WrongType",
    "encode_command",
]
