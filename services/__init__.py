"""The services layer: one set of functions for browser, cron, command line and tests."""
