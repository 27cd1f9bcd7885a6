"""The engine: a fixed plan of batches, run so that a kill costs one batch, its scores kept by content, on one device or many.

- `options`               device, dtype, batch budget, settings, resolved
- `plan`                  the batches, and running them
- `store`, `store_files`  scores by content, and the file below them
- `scale_out`, `crew`     workers of Ray, and who of them computes what
- `actor`, `parcels`      what runs on a worker, and the folders that are sent to it
- `rate`                  how fast pairs were scored last
- `ahead`                 what a model's loading takes, begun beside tokenizing
- `progress`              the bar
- `fast/`                 forward passes without padding, with the chip's own kernels
"""
