"""How far studies are: what their plans ask for, and what there is."""

from collections.abc import Sequence

import pandas as pd

from rnnbench.claims.design import Study
from rnnbench.errors import UserError
from rnnbench.runs.records import run_id
from rnnbench.studies.parts import plan


def progress(known: Sequence[Study], frame: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Label of each study → its runs that are there, of how many. frame: from `load`.

    Which settings a part repeats is known once its search has ended: until then any run that is of
    no other part is taken for one of its own. A study that cannot be planned here, for want of
    data, is left out.
    """
    found = {}
    for study in known:
        there = set(frame.loc[frame["study"] == study.label, "id"])
        try:
            made = plan(study, []).values()
        except UserError:
            continue
        fixed = {run_id(j.settings) for one in made if one.part.best_of is None for j in one.jobs}
        repeats = sum(len(one.jobs) for one in made if one.part.best_of is not None)
        done = len(there & fixed) + min(len(there - fixed), repeats)
        found[study.label] = done, len(fixed) + repeats
    return found
