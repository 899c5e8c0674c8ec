"""What answers on the gateway's port: LiteLLM's ASGI app inside our guards, `/usage`, uvicorn.

Run as `python -m proxy.gateway`; the launcher, the container image and Kubernetes all start it so. `app.py`
puts the parts together; importing this package alone does not import LiteLLM.
"""
