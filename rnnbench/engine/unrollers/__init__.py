"""A file per engine, found by being there: it holds an `UNROLLER` (see `engine.unroller`)."""
