"""How fast cells are: one layer and whole training steps, by our engines and by what else computes
them, timed side by side.
"""
