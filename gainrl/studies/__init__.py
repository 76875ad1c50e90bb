"""Measurements on models other than training: angle against gradient, and patterns along training."""
