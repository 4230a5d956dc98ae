"""The command line: one module a verb. Nothing here is imported before the verb that needs it is named."""
