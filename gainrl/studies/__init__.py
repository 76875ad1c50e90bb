"""What is measured on models beside training them: angle against gradient, and patterns along training."""
