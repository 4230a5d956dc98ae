"""Tells the world: GitHub, CircleCI, webhooks, SNS, EventBridge. What is recorded stands, heard or not."""
