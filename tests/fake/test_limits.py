"""Checks of the limits of quern-fake; run by test_fake.py."""
