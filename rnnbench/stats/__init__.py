"""Statistics on scores: selection, tests, intervals, ranks, survival, importance, power."""
