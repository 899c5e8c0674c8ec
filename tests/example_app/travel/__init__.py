"""A travel assistant: the example app that shows how an app is tested against the double.

It knows nothing of the double. It uses the official SDKs as an app does, which find the gateway by
OPENAI_BASE_URL and ANTHROPIC_BASE_URL.
"""
