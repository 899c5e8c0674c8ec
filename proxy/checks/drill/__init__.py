"""The drill: every chain of proxy.yaml through every kind of fault, in private scopes of the double, side by side.

Called by `litellm-local drill` and by pytest. faults.py says what is promised of each kind, cases.py what must come of
it along a chain and whether it did; run.py asks the deployment, limits.py tries its limits, outages.py its breaker,
report.py tells.
"""
