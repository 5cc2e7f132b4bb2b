"""A section of the report a file; see `report.section`."""
