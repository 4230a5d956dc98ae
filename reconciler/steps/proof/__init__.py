"""The steps of `verify`: gather what a clone holds about a build, and have it judged."""
