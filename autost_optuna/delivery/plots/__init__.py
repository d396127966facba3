"""Figures: for each, what is drawn (`..._view`) and how (`draw_...`)."""
