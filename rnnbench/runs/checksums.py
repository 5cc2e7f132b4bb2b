"""Damage is noticed: a checksum inside each file that a run leaves, over everything else in it.

JSON carries it as a key, YAML as its first comment, the archives of `torch.save` as the
comment that ZIP files may end with; all remain what they are for everybody else. Files of versions
that wrote none are taken as they are. No torch.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

DIGITS = 16  # of SHA-256: enough against accidents
_YAML = re.compile(rb"\A# checksum ([0-9a-f]{16})\n")
_ZIP_END = b"PK\x05\x06"  # of a record of 22 bytes, whose last two say how long the comment is


class Damaged(ValueError):
    """What a file holds is not what was written into it."""


def checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def seal_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """An object for JSON, with the checksum of its values, however they will be written."""
    return {**values, "checksum": _of_values(values)}


def check_json(found: Any) -> Any:
    """What JSON held, without its checksum. Raises Damaged if that is of other values."""
    if not isinstance(found, dict) or "checksum" not in found:
        return found
    values = {key: value for key, value in found.items() if key != "checksum"}
    if found["checksum"] != _of_values(values):
        raise Damaged("its checksum is that of other content")
    return values


def _of_values(values: Mapping[str, Any]) -> str:
    return checksum(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())


def seal_yaml(text: str) -> str:
    return f"# checksum {checksum(text.encode())}\n{text}"


def check_yaml(data: bytes) -> bytes:
    """The same bytes. Raises Damaged if they are not those that were sealed."""
    if (found := _YAML.match(data)) and checksum(data[found.end() :]) != found[1].decode():
        raise Damaged("its checksum is that of other content")
    return data


def seal_archive(data: bytes) -> bytes:
    """A ZIP file without a comment, with its checksum as comment."""
    return data[:-2] + DIGITS.to_bytes(2, "little") + checksum(data).encode()


def check_archive(data: bytes) -> bytes:
    """The same bytes. Raises Damaged if they are neither sealed nor a whole archive that never
    was.
    """
    if data[-22:-18] == _ZIP_END and data[-2:] == b"\0\0":
        return data
    body, length, found = data[: -DIGITS - 2], data[-DIGITS - 2 : -DIGITS], data[-DIGITS:]
    if length != DIGITS.to_bytes(2, "little") or checksum(body + b"\0\0").encode() != found:
        raise Damaged("its checksum is that of other content, or it is not whole")
    return data
