"""Independent references for the cells, and the comparison with them."""
