"""Findings as tables, Markdown and plots."""
