"""Equations, a file per family. A cell is a function that reads like its paper.

Upper-case arguments are families of matrices (`W.z` multiplies the input, `R.z` a state),
lower-case `p` and `b` are families of vectors (diagonals and biases), `x` is the input, everything
else is state, returned in the order in which it came; the first state is the output. Blocks are
declared by being used. Keyword-only arguments are constants (`cell.constants`). A name that is a
Python keyword takes a trailing underscore (`R.if_`).

Docstrings have a fixed form: what it is, `Source:` and, where sources disagree, `Reading:`.
"""
