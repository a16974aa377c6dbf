"""report.html: one file that a researcher opens, sends and cites. `assets/` holds its template, style and script."""
