"""From records to tables, figures and a page. Knows records only, never torch."""
