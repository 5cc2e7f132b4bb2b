"""Reading a cell: the operations of its language and the rules for its authors, the program that a
trace makes of it, what engines compute together (plan, stages), and how it is written (text).
"""
