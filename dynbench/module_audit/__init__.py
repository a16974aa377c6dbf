"""The audit of any module, without a plugin: what it executes on each image, and what that saves on the clock.

The same counter, the same trace and the same checks as audit the executors of methods; here nothing is claimed
beforehand, so that the report says what was found.
"""
