"""From records to tables, figures and a page. Knows records only, never torch.

`rnnbench.report("results/runs/mine")` writes a report; see `rnnbench.api`.
"""

import sys

from rnnbench import Verb

sys.modules[__name__].__class__ = Verb
