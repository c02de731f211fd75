# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""File name to content type, and what follows from the type: is it HTML, is it worth compressing.

The table is ours and not the system's `mimetypes`, which differs between machines; names are the registered ones
(IANA, WHATWG), `text/javascript` for every script (RFC 9239). The file's first bytes decide two things: that it is
UTF-8, which text then says of itself (JSON too: RFC 8259 calls a charset harmless, and a browser that is shown the bare
file never guesses), and text or binary where the name says nothing. HTML is never found that way, so that no upload
becomes a page by its bytes. The surprise: XML never says a charset, for its own first line does (RFC 7303 §3.2), and a
charset of ours would be believed before it.
"""

import codecs
import re
from functools import lru_cache

_TEXT = "text/plain"
BINARY = "application/octet-stream"

# Extensions by type.
_EXTENSIONS_OF: dict[str, str] = {
    # Pages, scripts, data
    "text/html": "html htm",
    "application/xhtml+xml": "xhtml xht",
    "text/css": "css",
    "text/javascript": "js mjs cjs jsx",
    "application/wasm": "wasm",
    "application/json": "json map topojson ipynb har",
    "application/manifest+json": "webmanifest",
    "application/ld+json": "jsonld",
    "application/geo+json": "geojson",
    "application/jrd+json": "jrd",
    "application/feed+json": "jsonfeed",
    "application/x-ndjson": "ndjson jsonl",
    "application/json-seq": "json-seq",
    "application/xml": "xml xsd rng sitemap",
    "application/xslt+xml": "xsl xslt",
    "application/xml-dtd": "dtd",
    "application/rss+xml": "rss",
    "application/atom+xml": "atom",
    "application/rdf+xml": "rdf owl",
    "application/rdap+json": "rdap",
    "application/opensearchdescription+xml": "osd opensearch",
    "application/mathml+xml": "mathml mml",
    "application/ttml+xml": "ttml",
    "application/xrd+xml": "xrd",
    "application/gpx+xml": "gpx",
    "application/vnd.google-earth.kml+xml": "kml",
    "application/vnd.google-earth.kmz": "kmz",
    "application/yaml": "yaml yml",
    "application/toml": "toml",
    "application/graphql": "graphql gql",
    "application/sql": "sql",
    "application/rtf": "rtf",
    "application/x-subrip": "srt",
    "application/pgp-signature": "sig",
    "application/x-pem-file": "pem",
    "application/n-triples": "nt",
    "application/n-quads": "nq",
    "application/postscript": "ps eps ai",
    "text/cache-manifest": "appcache",
    "text/calendar": "ics ifb",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/markdown": "md markdown mkd mdown",
    "text/vcard": "vcf vcard",
    "text/vtt": "vtt",
    "text/turtle": "ttl",
    "text/n3": "n3",
    "text/x-component": "htc",
    # Not run by any browser from these names: shown as what they are.
    _TEXT: (
        "txt text log conf cfg ini env properties list diff patch lock mdx rst asc json5 jsonc adoc asciidoc org "
        "textile tex bib sty cls c h cc cpp cxx hpp hh hxx m mm cs java kt kts scala groovy gradle go rs zig nim d "
        "v vala swift dart py pyi pyx rb pl pm php lua r jl hs lhs ml mli elm ex exs erl hrl clj cljs edn lisp el "
        "scm rkt fs fsx vb pas asm s f90 sh bash zsh fish ps1 bat cmd awk sed vim nix tf hcl proto thrift cmake mk "
        "make dockerfile tsx vue svelte astro coffee less scss sass styl webc njk liquid hbs mustache ejs pug jade "
        "jinja jinja2 j2 twig haml slim tmpl tpl po pot strings glsl frag vert wgsl hlsl ly abc puml mmd mermaid "
        "dot gv csl sha1 sha256 sha512 md5 sum robots lrc ass ssa sub"
    ),
    # Images
    "image/svg+xml": "svg svgz",  # .svgz: under its Content-Encoding, see `encoded_name`
    "image/png": "png",
    "image/apng": "apng",
    "image/jpeg": "jpg jpeg jpe jfif pjpeg pjp",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/avif": "avif avifs",
    "image/jxl": "jxl",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/x-icon": "ico cur",
    "image/bmp": "bmp dib",
    "image/tiff": "tif tiff",
    "image/jp2": "jp2",
    "image/ktx": "ktx",
    "image/ktx2": "ktx2",
    "image/vnd.adobe.photoshop": "psd",
    "image/vnd.radiance": "hdr",
    "image/x-exr": "exr",
    # Fonts
    "font/woff2": "woff2",
    "font/woff": "woff",
    "font/ttf": "ttf",
    "font/otf": "otf",
    "font/collection": "ttc otc",
    "application/vnd.ms-fontobject": "eot",
    # Sound and film
    "video/mp4": "mp4 m4v mp4v cmfv",
    "video/webm": "webm",
    "video/ogg": "ogv",
    "video/quicktime": "mov qt",
    "video/mpeg": "mpg mpeg mpe m2v",
    "video/matroska": "mkv",
    "video/x-msvideo": "avi",
    "video/3gpp": "3gp",
    "video/iso.segment": "m4s",
    "video/x-flv": "flv",
    "video/x-ms-wmv": "wmv",
    "audio/mpeg": "mp3 mp2 mpga",
    "audio/mp4": "m4a m4b cmfa",
    "audio/aac": "aac adts",
    "audio/ogg": "ogg oga opus spx",  # RFC 7845: .opus is Opus in Ogg
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/webm": "weba",
    "audio/aiff": "aif aiff",
    "audio/midi": "mid midi",
    "audio/matroska": "mka",
    "audio/x-ms-wma": "wma",
    "application/ogg": "ogx",
    "application/vnd.apple.mpegurl": "m3u8",
    "audio/mpegurl": "m3u",
    "audio/x-scpls": "pls",
    "application/dash+xml": "mpd",
    # Models
    "model/gltf-binary": "glb",
    "model/gltf+json": "gltf",
    "model/obj": "obj",
    "model/mtl": "mtl",
    "model/stl": "stl",
    "model/3mf": "3mf",
    "model/vnd.usdz+zip": "usdz",
    "model/vnd.collada+xml": "dae",
    "model/vrml": "wrl vrml",
    "model/x3d+xml": "x3d",
    "model/step": "step stp",
    # Documents
    "application/pdf": "pdf",
    "application/epub+zip": "epub",
    "application/x-mobipocket-ebook": "mobi prc",
    "application/vnd.amazon.ebook": "azw",
    "application/vnd.comicbook+zip": "cbz",
    "image/vnd.djvu": "djvu djv",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt pps",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template": "dotx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.presentationml.slideshow": "ppsx",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.graphics": "odg",
    "application/vnd.oasis.opendocument.formula": "odf",
    # Archives and programs
    "application/zip": "zip",
    "application/gzip": "gz tgz",
    "application/x-brotli": "br",
    "application/zstd": "zst",
    "application/x-tar": "tar",
    "application/x-7z-compressed": "7z",
    "application/x-xz": "xz txz",
    "application/x-bzip2": "bz2 tbz tbz2",
    "application/vnd.rar": "rar",
    "application/x-lzip": "lz",
    "application/java-archive": "jar war",
    "application/vnd.android.package-archive": "apk",
    "application/vnd.debian.binary-package": "deb",
    "application/x-rpm": "rpm",
    "application/x-apple-diskimage": "dmg",
    "application/x-iso9660-image": "iso",
    "application/x-xpinstall": "xpi",
    "application/x-chrome-extension": "crx",
    "application/vnd.microsoft.portable-executable": "exe dll",
    "application/x-msi": "msi",
    "application/x-bittorrent": "torrent",
    "application/vnd.sqlite3": "sqlite sqlite3 db",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.apache.arrow.file": "arrow feather",
    "application/vnd.pmtiles": "pmtiles",
    "application/vnd.mapbox-vector-tile": "mvt",
    "application/x-protobuf": "pb pbf",
    "application/x-x509-ca-cert": "crt cer der",
    "application/pkix-crl": "crl",
    "application/pkcs7-mime": "p7m",
    "application/vnd.apple.pkpass": "pkpass",
    "application/x-apple-aspen-config": "mobileconfig",
    "application/signed-exchange;v=b3": "sxg",
    "application/webbundle": "wbn",
    "application/warc": "warc",
    "application/wacz+zip": "wacz",
    BINARY: "bin dat data",
}


def _words(text: str, prefix: str = "") -> frozenset[str]:
    return frozenset(prefix + word for word in text.split())


# application/* types whose bytes are text although neither +json nor +xml says so.
_TEXT_APPLICATIONS = _words(
    "json x-ndjson json-seq xml xml-dtd yaml toml graphql sql rtf x-subrip x-pem-file n-triples n-quads postscript "
    "vnd.apple.mpegurl",
    prefix="application/",
)
_TEXT_SUFFIXES = ("+json", "+xml")
# Formats without compression inside that shrink well; sound and film without any are left alone (they are asked for in
# ranges, and ranges are served from the file itself).
_COMPRESSIBLE_BINARIES = _words(
    "application/wasm application/vnd.ms-fontobject font/ttf font/otf font/collection image/bmp image/x-icon "
    "image/vnd.radiance model/gltf-binary model/obj model/mtl model/stl model/step model/vrml application/x-protobuf "
    "application/msword application/vnd.ms-excel application/vnd.ms-powerpoint application/vnd.mapbox-vector-tile"
)


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _is_text(essence: str) -> bool:
    return essence.startswith("text/") or essence in _TEXT_APPLICATIONS or essence.endswith(_TEXT_SUFFIXES)


def _is_xml(essence: str) -> bool:
    return essence.endswith("+xml") or essence in ("application/xml", "application/xml-dtd")


_BY_EXTENSION = {
    extension: essence for essence, extensions in _EXTENSIONS_OF.items() for extension in extensions.split()
}
_JSON = "application/json"

# Names without an extension that people put on sites and expect to read, lower case.
_READABLE_NAMES = _words(
    "cname license licence copying copyright notice readme authors contributors changelog changes news todo install "
    "version makefile dockerfile containerfile procfile vagrantfile gemfile rakefile codeowners maintainers humans "
    "robots keybase _redirects _headers .redirects .domains .nojekyll .gitignore .gitattributes .gitmodules .gitkeep "
    ".keep .editorconfig .mailmap .htaccess .npmrc .prettierrc .eslintrc .pages .plan"
)
# Names without an extension whose readers insist on a type, wherever the file lies.
_FIXED_NAMES = {"apple-app-site-association": _JSON}
# The same below /.well-known/ (IANA's registry of well-known URIs and the specifications it names).
_WELL_KNOWN = {
    "matrix/client": _JSON,
    "matrix/server": _JSON,
    "matrix/support": _JSON,
    "openid-configuration": _JSON,
    "openid-credential-issuer": _JSON,
    "oauth-authorization-server": _JSON,
    "oauth-protected-resource": _JSON,
    "nodeinfo": _JSON,
    "passkey-endpoints": _JSON,
    "webauthn": _JSON,
    "http-opportunistic": _JSON,
    "terraform.json": _JSON,
    "smart-configuration": _JSON,
    "uma2-configuration": _JSON,
    "web-identity": _JSON,
    "acme": _JSON,
    "webfinger": "application/jrd+json",
    "host-meta": "application/xrd+xml",
    "traffic-advice": "application/trafficadvice+json",
    "api-catalog": "application/linkset+json",
    "void": "text/turtle",
    "atproto-did": _TEXT,
    "discord": _TEXT,
    "apple-developer-merchantid-domain-association": _TEXT,
    "openpgpkey/policy": _TEXT,
}
# WHATWG MIME Sniffing, "binary data byte".
_BINARY_BYTES = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
# ISO 2022 (Japanese, Korean, Chinese mail of old): ASCII bytes that are no ASCII.
_ISO_2022 = re.compile(rb"\x1b(?:\$[@-Z()]|\([IJ])")
HEAD_SIZE = 4096
"""Bytes of a file that are looked at where not all of it is on hand; HTML's own look-ahead is 1024."""
_PRESCAN = 1024
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_META_CHARSET = re.compile(
    rb"<meta[^<>]{0,300}?charset[ \t\r\n]*+=[ \t\r\n]*+[\"']?+[ \t\r\n]*+([^ \t\r\n\"'/>;]++)", re.IGNORECASE
)
_CSS_CHARSET = re.compile(rb'@charset "([^"\r\n]{1,60})"')
# WHATWG Encoding: labels of UTF-8; HTML §13.2.3.2 takes UTF-16 in a `meta` for it, too.
_UTF_8 = frozenset(
    b"utf-8 utf8 unicode-1-1-utf-8 unicode11utf8 unicode20utf8 x-unicode20utf8 utf-16 utf-16le utf-16be".split()
)
# What mirrors leave behind a name: `jquery.min.js?ver=3.6.0`, `plugin.js@v=2` (where a name may have no question mark),
# `main.js;jsessionid=1`.
_BEHIND_A_NAME = re.compile(r"\?|;|@(?=[\w.-]{1,40}=)")
# `css?family=Lato`: addresses whose whole name is what they give.
_NAMES_OF_MIRRORS = {"css": "text/css", "css2": "text/css", "js": "text/javascript"}
# Wget's `--adjust-extension` writes these behind all of it, and means them.
_ADJUSTED = ("text/html", "text/css")


def content_type(name: str, head: bytes | None = None) -> str:
    """The `Content-Type` of a file by its name or path, without regard to case.

    `head`, the file or its first bytes (`HEAD_SIZE` are plenty), matters only where `depends_on_head(name)`: it says
    whether text is UTF-8, and where the name says nothing, whether it is text at all; never anything that a browser
    would run. Without it there is no charset, and such a file is `application/octet-stream` (`.ts`: `video/mp2t`).
    """
    found = _by_name(name)
    if found is None:
        if head is None or not _looks_like_text(head[:HEAD_SIZE]):
            return "video/mp2t" if _extension(name) == "ts" else BINARY
        found = _TEXT
    return f"{found}; charset=utf-8" if head is not None and _is_utf8(found, head) else found


def depends_on_head(name: str) -> bool:
    """Whether `content_type` needs the first bytes: of text, and of what may be text."""
    found = _by_name(name)
    return found is None or (_is_text(found) and not _is_xml(found))


def is_fallback(name: str) -> bool:
    """Whether the name says nothing of the type, so that a browser may know better than we do."""
    found = _by_name(name)
    return found is None or found == BINARY


def is_prose(name: str) -> bool:
    """Whether the file is text for people, by its name: what may be about anything."""
    return _by_name(name) in (_TEXT, "text/markdown")


def _is_utf8(essence: str, head: bytes) -> bool:
    """Whether text may be called UTF-8: its bytes are, as far as they are known, and it does not say otherwise."""
    if not _is_text(essence) or _is_xml(essence):
        return False
    declared = None
    if essence == "text/html":
        declared = _META_CHARSET.search(_COMMENT.sub(b"", head[:_PRESCAN]))
    elif essence == "text/css":
        declared = _CSS_CHARSET.match(head)
    if declared is not None and declared[1].lower() not in _UTF_8:
        return False
    if b"\0" in head or _ISO_2022.search(head[:HEAD_SIZE]):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut off
    except UnicodeDecodeError:
        return False
    return True


def has_known_extension(name: str) -> bool:
    """Whether a name ends like a file of a web site (`about.html`, `favicon.ico`), rather than like a repository's.

    Source code does not count: its extensions are top-level domains (`alice.org`) and parts of repository names, too.
    """
    extension = _extension(name)
    return extension in ("txt", "ts") or _BY_EXTENSION.get(extension, _TEXT) != _TEXT


def is_html(content_type: str) -> bool:
    """Whether a browser shows this type as a page (HTML or XHTML)."""
    return _essence(content_type) in ("text/html", "application/xhtml+xml")


@lru_cache(maxsize=1024)
def compressible(content_type: str) -> bool:
    """Whether bytes of this type usually shrink enough to be worth compressing."""
    essence = _essence(content_type)
    return _is_text(essence) or essence in _COMPRESSIBLE_BINARIES


def _by_name(path: str) -> str | None:
    """The type that the name alone decides, or None where the content has to tell."""
    path = path.lower()
    name = path.rpartition("/")[2]
    if "/.well-known/" in "/" + path and (fixed := _WELL_KNOWN.get(path.rpartition(".well-known/")[2])):
        return fixed
    if fixed := _FIXED_NAMES.get(name):
        return fixed
    extension = _extension(name)
    stem, behind = name, _BEHIND_A_NAME.search(name)
    if behind is not None and behind.start() and _BY_EXTENSION.get(extension) not in _ADJUSTED:
        stem = name[: behind.start()]
        if (fixed := _NAMES_OF_MIRRORS.get(stem)) is not None:
            return fixed
        extension = _extension(stem)
    if extension == "ts":
        return None
    if extension:
        return _BY_EXTENSION.get(extension, BINARY)
    return _TEXT if stem in _READABLE_NAMES else None


def _extension(name: str) -> str:
    """What follows the last dot, lower case; empty for `.profile`, `name.` and for numbers (`v1.2`, `page.1`)."""
    stem, _, extension = name.rpartition("/")[2].rpartition(".")
    return "" if not stem or (extension.isdigit() and extension.isascii()) else extension.lower()


def _looks_like_text(head: bytes) -> bool:
    """UTF-8 (the last character may be cut off) without the control bytes that no text contains."""
    if _BINARY_BYTES.search(head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True
