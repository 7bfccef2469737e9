"""Exercises that grade themselves, the mistakes that they know by name, and the zoo of planted bugs that keeps the diagnosis honest."""
