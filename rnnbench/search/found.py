"""The cells of a search as a file that a person keeps: functions with names and docstrings."""

from rnnbench.search.archive import Member, SearchArchive
from rnnbench.search.writing import file_text, function_text


def found_text(archive: SearchArchive, method: str, seed: int, count: int) -> str:
    """The best `count` cells, best first; a reference stands at the end if it is not among them."""
    search = archive.search
    chosen = [member for _, member in archive.ranked() if member.name not in search.references]
    functions = [
        function_text(
            member.graph, member.name, search.inputs, about(archive, member, method, seed)
        )
        for member in chosen[:count]
    ]
    title = (
        f"Cells found by rnnbench search {search.name}: {method}, seed {seed}, "
        f"{archive.count} candidates.\n\n"
        f"rnnbench show cell=found.py:{chosen[0].name if chosen else 'NAME'}\n"
    )
    return file_text(title, functions)


def about(archive: SearchArchive, member: Member, method: str, seed: int) -> str:
    """The docstring of a found cell: what it is, its lineage, its scores."""
    search = archive.search
    fitness = archive.fitness(member)
    first = f"Fitness {fitness:.4f}: the smallest share of what the {search.relative_to} reached."
    if member.known:
        first += f" It computes what `{member.known}` does."
    scores = "; ".join(
        f"{name} {best:.4g} ({archive.share(member, name):.4f} of the {search.relative_to}, "
        f"{len(member.tried[name])} settings)"
        for name, stage in archive.stages.items()
        if (best := member.best(name, stage.goal)) is not None
    )
    chain = " ← ".join(one.name for one in lineage(archive, member))
    return (
        f"{first}\n\n"
        f"Source: rnnbench search {search.name}, {method}, seed {seed}. Lineage: {chain}.\n\n"
        f"Reading: best validation scores over the settings tried: {scores}."
    )


def lineage(archive: SearchArchive, member: Member) -> list[Member]:
    """The cell, its parent, and so on, back to a reference."""
    chain = [member]
    while chain[-1].parent:
        chain.append(archive.members[chain[-1].parent])
    return chain
