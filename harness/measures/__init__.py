"""Stage 4: measures of a run, the verdict on one result, and what may be believed of it."""
