"""What every method has to keep: small named checks that need no test framework.

They are used like this::

    subject = make_subject(MyMethod)
    for check in CHECKS:
        print(check(subject))

`dynbench test` runs them in a process of their own; a package's own tests may run them in theirs.
"""

from dynbench.contract.checks import CHECKS
from dynbench.contract.promise import Check, Outcome
from dynbench.contract.subject import Subject, digits, make_subject

__all__ = ["CHECKS", "Check", "Outcome", "Subject", "digits", "make_subject"]
