"""Taking a study away: exports, figures, report, dashboard."""
