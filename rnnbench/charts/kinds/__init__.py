"""A kind of chart a file: which data of a task it shows, with which marks. Found by this folder, or
from outside by an entry point of the group `rnnbench.charts.kinds`; see `chart.ChartKind`.
"""
