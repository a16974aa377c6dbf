"""From records to findings, without a format: configurations, controls, verdicts, claims, literature, columns."""
