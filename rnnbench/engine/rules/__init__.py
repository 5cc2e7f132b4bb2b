"""A file per optimiser, found by being there: it holds a `RULE` (see `engine.rule`)."""
