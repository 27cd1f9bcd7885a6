"""Pictures for a paper, made of the report's charts, as files of their own.

- `per_query`    each query of two systems: differences in their order, and one against the other
- `depth`        a measure over the depth of reranking, with intervals; `depth_table` the same as a table
- `stacked`      several charts with their titles on one sheet
- `files`        SVG as it is, PNG by resvg
"""
