"""From score files to tables, comparisons, pictures and the report."""
