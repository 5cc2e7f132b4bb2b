"""A figure as a report carries it: drawn, with its words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A figure already drawn. alt: what a reader who cannot see it is told; caption: under it."""

    name: str
    caption: str
    alt: str
    svg: bytes
    png: bytes
