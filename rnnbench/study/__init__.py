"""Studies: a question, the runs that answer it, and the claims that they are to judge, as data in `configs/studies/`."""
