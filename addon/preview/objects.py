# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The objects of one git directory: kind, size and bytes by id, whole or as a stream.

Knows loose objects, packs, deltas, alternates, SHA-1 and SHA-256. dulwich finds things in packs and resolves
deltas; what it would hold in memory whole (a loose or undeltified blob) is inflated here chunk by chunk, so that a
file of any size can be served with constant memory. Sizes come from the object headers, never from the contents.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from dulwich.pack import PackIndex

CHUNK = 65536
KEPT_BYTES = 32 * 1024 * 1024
KEPT_HEADERS = 300_000
_PACK_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_OFS_DELTA, _REF_DELTA = 6, 7
_HEX_LENGTHS = {"sha1": 40, "sha256": 64}


class ObjectMissing(KeyError):
    """The repository has no object of that id."""


class DulwichMissing(ImportError):
    """dulwich, the library that reads git repositories, is not installed."""

    def __init__(self) -> None:
        super().__init__("reading git repositories needs dulwich 1.2 or newer: pip install 'dulwich>=1.2'")


class Header(NamedTuple):
    kind: str
    size: int


class Entry(NamedTuple):
    name: bytes
    mode: int
    id: str


class _Packed(NamedTuple):
    path: str
    offset: int
    objects_dir: Path


def hex_length(object_format: str) -> int:
    """How many hexadecimal digits an id of `sha1` or `sha256` has."""
    return _HEX_LENGTHS[object_format]


def object_id(kind: str, data: bytes, object_format: str = "sha1") -> str:
    """The id that git gives an object of this kind (`blob`, `tree`, …) and these bytes."""
    return hashlib.new(object_format, b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest()


def parse_tree(data: bytes, object_format: str = "sha1") -> list[Entry]:
    """The entries of a tree object in their order; raises ValueError when it is cut off."""
    raw_length = _HEX_LENGTHS[object_format] // 2
    entries, at, end = [], 0, len(data)
    while at < end:
        space = data.index(b" ", at)
        nul = data.index(b"\0", space)
        stop = nul + 1 + raw_length
        if stop > end:
            raise ValueError("tree object cut off")
        entries.append(Entry(data[space + 1 : nul], int(data[at:space], 8), data[nul + 1 : stop].hex()))
        at = stop
    return entries


def inflated(file: BinaryIO) -> Iterator[bytes]:
    """What the zlib stream at the file's position holds, in pieces of at most 64 KiB."""
    inflate = zlib.decompressobj()
    while not inflate.eof:
        packed = inflate.unconsumed_tail or file.read(CHUNK)
        piece = inflate.decompress(packed, CHUNK)
        if piece:
            yield piece
        elif not packed:
            raise zlib.error("the object is cut off")


def cut(pieces: Iterator[bytes], start: int, stop: int) -> Iterator[bytes]:
    """The bytes from `start` to before `stop` of a sequence of pieces."""
    at = 0
    for piece in pieces:
        following = at + len(piece)
        if following > start:
            yield piece[max(0, start - at) : stop - at]
        at = following
        if at >= stop:
            return


class Objects:
    """Reads the objects below one `objects` folder and its alternates; for one thread at a time."""

    def __init__(self, objects_dir: Path, object_format: str) -> None:
        self.object_format = object_format
        self._dirs = list(_with_alternates(objects_dir))
        self._indexes: dict[str, PackIndex] = {}
        self._stores: dict[Path, Any] = {}
        self._headers: dict[str, Header] = {}
        self._kept: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._kept_bytes = 0

    def header(self, oid: str) -> Header:
        """Kind and size in bytes of an object; raises ObjectMissing."""
        found = self._headers.get(oid)
        if found is None:
            if len(self._headers) >= KEPT_HEADERS:
                self._headers.clear()
            found = self._headers[oid] = self._read_header(oid)
        return found

    def read(self, oid: str) -> tuple[str, bytes]:
        """Kind and bytes of an object; raises ObjectMissing. Trees and commits are remembered, within 32 MiB."""
        kept = self._kept.get(oid)
        if kept is not None:
            self._kept.move_to_end(oid)
            return kept
        kind, size = self.header(oid)
        data = b"".join(self.chunks(oid))
        if kind != "blob":
            self._kept[oid] = kind, data
            self._kept_bytes += size
            while self._kept_bytes > KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1][1])
        return kind, data

    def chunks(self, oid: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes of an object from `start` to before `stop`, in pieces of at most 64 KiB where it is not a delta."""
        size = self.header(oid).size
        stop = size if stop is None else min(stop, size)
        if start >= stop:
            return
        loose = self._open_loose(oid)
        if loose is not None:
            with loose:
                pieces = inflated(loose)
                first = next(pieces)
                body_at = first.index(b"\0") + 1
                yield from cut(_chained(first[body_at:], pieces), start, stop)
            return
        packed = self._packed(oid)
        with open(packed.path, "rb") as file:
            file.seek(packed.offset)
            kind, _ = _pack_entry(file)
            if kind in _PACK_KINDS:
                yield from cut(inflated(file), start, stop)
                return
        data = self._store(packed.objects_dir).get_raw(oid.encode())[1]
        for at in range(start, stop, CHUNK):
            yield data[at : min(at + CHUNK, stop)]

    def ids_beginning(self, prefix: str) -> set[str]:
        """All ids that begin with these hexadecimal digits (at least two)."""
        found: set[str] = set()
        even = prefix[: len(prefix) // 2 * 2]
        for objects_dir in self._dirs:
            with suppress(OSError):
                names = os.listdir(objects_dir / prefix[:2])
                found.update(prefix[:2] + name for name in names if (prefix[:2] + name).startswith(prefix))
        for index in self._all_indexes():
            found.update(raw.hex() for raw in index.iter_prefix(bytes.fromhex(even)) if raw.hex().startswith(prefix))
        return {oid for oid in found if len(oid) == _HEX_LENGTHS[self.object_format]}

    def close(self) -> None:
        """Closes the files that were kept open."""
        for store in self._stores.values():
            store.close()
        for index in self._indexes.values():
            index.close()
        self._stores.clear()
        self._indexes.clear()

    def _read_header(self, oid: str) -> Header:
        loose = self._open_loose(oid)
        if loose is not None:
            with loose:
                kind, _, size = zlib.decompressobj().decompress(loose.read(512), 64).partition(b"\0")[0].partition(b" ")
                return Header(kind.decode(), int(size))
        packed = self._packed(oid)
        with open(packed.path, "rb") as file:
            file.seek(packed.offset)
            kind_number, size_here = _pack_entry(file)
            if kind_number in _PACK_KINDS:
                return Header(_PACK_KINDS[kind_number], size_here)
            if kind_number == _REF_DELTA:
                base = file.read(_HEX_LENGTHS[self.object_format] // 2).hex()
                return Header(self.header(base).kind, _delta_target_size(file))
            base_offset = packed.offset - _offset_back(file)
            target_size = _delta_target_size(file)
            return Header(self._kind_at(packed, base_offset), target_size)

    def _kind_at(self, packed: _Packed, offset: int) -> str:
        with open(packed.path, "rb") as file:
            while True:
                file.seek(offset)
                kind_number, _ = _pack_entry(file)
                if kind_number in _PACK_KINDS:
                    return _PACK_KINDS[kind_number]
                if kind_number == _REF_DELTA:
                    return self.header(file.read(_HEX_LENGTHS[self.object_format] // 2).hex()).kind
                offset -= _offset_back(file)

    def _open_loose(self, oid: str) -> BinaryIO | None:
        for objects_dir in self._dirs:
            with suppress(FileNotFoundError, NotADirectoryError):
                return open(objects_dir / oid[:2] / oid[2:], "rb")
        return None

    def _packed(self, oid: str) -> _Packed:
        raw = bytes.fromhex(oid)
        for look_again in (False, True):
            if look_again:
                self._look_for_packs()
            for path, index in self._indexes.items():
                with suppress(KeyError):
                    return _Packed(path[:-4] + ".pack", index.object_offset(raw), Path(path).parent.parent)  # type: ignore[arg-type]  # RawObjectID is a NewType of bytes
        raise ObjectMissing(oid)

    def _all_indexes(self) -> list[PackIndex]:
        self._look_for_packs()
        return list(self._indexes.values())

    def _look_for_packs(self) -> None:
        from dulwich.object_format import get_object_format
        from dulwich.pack import load_pack_index

        present: set[str] = set()
        for objects_dir in self._dirs:
            with suppress(FileNotFoundError):
                present.update(
                    entry.path
                    for entry in os.scandir(objects_dir / "pack")
                    if entry.name.endswith(".idx") and os.path.exists(entry.path[:-4] + ".pack")
                )
        for path in self._indexes.keys() - present:
            self._indexes.pop(path).close()
        for path in sorted(present - self._indexes.keys()):
            self._indexes[path] = load_pack_index(path, get_object_format(self.object_format))

    def _store(self, objects_dir: Path) -> Any:
        if objects_dir not in self._stores:
            from dulwich.object_format import get_object_format
            from dulwich.object_store import DiskObjectStore

            self._stores[objects_dir] = DiskObjectStore(
                objects_dir, object_format=get_object_format(self.object_format)
            )
        return self._stores[objects_dir]


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _with_alternates(objects_dir: Path, depth: int = 0) -> Iterator[Path]:
    yield objects_dir
    with suppress(OSError):
        for line in (objects_dir / "info" / "alternates").read_bytes().splitlines():
            if line and not line.startswith(b"#") and depth < 5:
                yield from _with_alternates(objects_dir / os.fsdecode(line), depth + 1)


def _pack_entry(file: BinaryIO) -> tuple[int, int]:
    byte = file.read(1)[0]
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    while byte & 0x80:
        byte = file.read(1)[0]
        size |= (byte & 0x7F) << shift
        shift += 7
    return kind, size


def _offset_back(file: BinaryIO) -> int:
    byte = file.read(1)[0]
    offset = byte & 0x7F
    while byte & 0x80:
        byte = file.read(1)[0]
        offset = (offset + 1) << 7 | byte & 0x7F
    return offset


def _delta_target_size(file: BinaryIO) -> int:
    head = zlib.decompressobj().decompress(file.read(256), 32)
    at = 0
    while head[at] & 0x80:
        at += 1
    size, shift = 0, 0
    for byte in head[at + 1 :]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return size
