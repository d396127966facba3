"""Delivery of a study: exports, figures, report, dashboard."""
