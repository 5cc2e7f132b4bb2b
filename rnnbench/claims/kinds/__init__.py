"""A kind of claim a file: what it needs, its test, what it says. Found by this folder, or from
outside by an entry point of the group `rnnbench.claims.kinds`; see `claims.kind.ClaimKind`.
"""
