"""What every run checks besides its figures: that the plugin did what it says, and left the harness alone.

Findings are `AuditFailed`: they fail the run and say what was found and where. Python cannot be sealed from the inside;
docs/honesty.md says for each kind of cheat how it is caught and what gets through.
"""
