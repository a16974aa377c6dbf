"""`python -m dynbench.isolate.tidily MODULE ARGUMENTS`: as `python -m MODULE ARGUMENTS`, and nothing that it starts
outlives it."""

import runpy
import sys

from dynbench.isolate.family import tidied

if __name__ == "__main__":
    del sys.argv[0]
    with tidied():
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
