"""What several results say together: comparisons, gates, reports."""
