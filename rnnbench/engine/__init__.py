"""Networks of layers for K replicas: unrolling through time, initial weights, optimisers, batches,
packs.
"""
