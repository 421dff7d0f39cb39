"""The uvicorn server, with limits on its connections."""
