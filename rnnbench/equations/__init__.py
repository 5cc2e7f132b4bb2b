"""Reading a cell: its rules, the trace of its equations, the plan and program made of it, and how
they are written.
"""
