"""rnnbench: compares recurrent cells fairly."""

__version__ = "0.1.0"
