"""Figures: each has a view of what is drawn (`..._view`) and a function that draws it (`draw_...`)."""
