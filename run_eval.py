"""Run the harness from a checkout: `python run_eval.py run SciFact --reranker MODEL`."""

import sys

from harness.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
